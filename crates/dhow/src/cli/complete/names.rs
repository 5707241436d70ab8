//! Names of things, asked of the daemon.

use super::wanted::Names;
use crate::cli::context::Context;
use crate::cli::contexts;
use dhow_api::{ContainerSummary, Filters, ImageSummary};
use dhow_client::{Client, Result, query};
use serde_json::Value;
use std::sync::mpsc;
use std::time::Duration;

/// Who presses a key waits no longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Names and what they are; none if no daemon answers in time.
pub fn ask(context: &Context, names: Names) -> Vec<(String, String)> {
    if names == Names::Contexts {
        return contexts::names().into_iter().map(|name| (name, "context".to_owned())).collect();
    }
    let client = context.client();
    let (done, answer) = mpsc::channel();
    // The thread of a daemon that is silent ends with the process.
    std::thread::spawn(move || {
        let _ = done.send(of(&client, names).unwrap_or_default());
    });
    answer.recv_timeout(PATIENCE).unwrap_or_default()
}

fn of(client: &Client, names: Names) -> Result<Vec<(String, String)>> {
    match names {
        Names::Containers(states) => containers(client, states),
        Names::Images => images(client),
        Names::Objects => {
            let mut all = containers(client, &[])?;
            all.extend(images(client)?);
            Ok(all)
        }
        Names::Networks => named(client.get::<Value>("/networks")?),
        Names::Contexts => Ok(Vec::new()),
        Names::Volumes => named(client.get::<Value>("/volumes")?["Volumes"].take()),
    }
}

fn containers(client: &Client, states: &[&str]) -> Result<Vec<(String, String)>> {
    let mut filters = Filters::default();
    states.iter().for_each(|state| filters.add("status".to_owned(), *state));
    let filters = (!states.is_empty()).then(|| filters.to_text());
    let path = format!("/containers/json{}", query::build(&[("all", query::flag(true)), ("filters", filters)]));
    let list: Vec<ContainerSummary> = client.get(&path)?;
    let name = |c: &ContainerSummary| c.names.first().map(|n| n.trim_start_matches('/').to_owned());
    Ok(list.iter().filter_map(|c| Some((name(c)?, format!("{}, {}", c.image, c.status)))).collect())
}

fn images(client: &Client) -> Result<Vec<(String, String)>> {
    let list: Vec<ImageSummary> = client.get("/images/json")?;
    let tags = list.into_iter().flat_map(|i| i.repo_tags).filter(|tag| !tag.starts_with("<none>"));
    Ok(tags.map(|tag| (tag, "image".to_owned())).collect())
}

fn named(list: Value) -> Result<Vec<(String, String)>> {
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default().iter();
    Ok(list.map(|v| (text(v, "Name"), text(v, "Driver"))).filter(|(name, _)| !name.is_empty()).collect())
}
