//! `ps`.

use super::config::{self, Setting};
use super::context::Context;
use super::listing::List;
use super::template::{Template, V, printf};
use super::{listing, table, units};
use anyhow::{Context as _, Result};
use clap::Parser;
use dhow_api::{ContainerSummary, PortSummary};
use dhow_client::{each, query};
use serde_json::{Value, json};

/// List containers
#[derive(Parser, Debug)]
pub struct PsArgs {
    /// All, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Only those that match (name=, id=, status=, label=, ancestor=, exited=, …)
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = listing::filter)]
    filter: Vec<String>,
    /// Go template, `table …` or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print ids and commands in full
    #[arg(long)]
    no_trunc: bool,
    /// The newest N, whatever their state
    #[arg(short = 'n', long = "last", value_name = "N", default_value_t = -1)]
    last: i64,
    /// The newest one, whatever its state
    #[arg(short, long)]
    latest: bool,
    /// Show how much each has written, and how large it is with its image
    #[arg(short, long)]
    size: bool,
}

/// The last one stands there only when sizes are asked for.
const COLUMNS: [(&str, &str); 8] = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
    ("SIZE", "Size"),
];

/// Fields of a row that no column shows.
const OTHERS: [&str; 8] = ["CreatedAt", "State", "Labels", "Mounts", "Networks", "LocalVolumes", "Size", "Platform"];

const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n\
    state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\n\
    ports: {{- pad .Ports 1 0}}\n";

/// `dhow ps`.
pub fn ps(context: &Context, args: PsArgs) -> Result<i32> {
    let client = context.client();
    let given = config::or_configured(args.format.as_deref(), Setting::Ps);
    // A template is tried out first: what is wrong with it is said before anybody is asked.
    if let Some(template) = given.as_deref() {
        let template = Template::parse(template).context("failed to parse template")?;
        template.render(&listed(&ContainerSummary::default(), false)).context("failed to execute template")?;
    }
    let limit = if args.latest { Some(1) } else { Some(args.last).filter(|n| *n > 0) };
    let path = format!(
        "/containers/json{}",
        query::build(&[
            ("all", query::flag(args.all || limit.is_some())),
            ("limit", limit.map(|n| n.to_string())),
            // It costs the daemon a walk over the files: only where it is shown.
            ("size", query::flag(args.size || given.as_deref().is_some_and(shows_sizes))),
            ("filters", listing::filters(&args.filter)),
        ])
    );
    let text = context.with_daemon(&client, |c| c.get_list(&path))?;
    let format = match given.as_deref() {
        Some("raw") if args.quiet => Some("container_id: {{.ID}}".to_owned()),
        Some("raw") if args.size => Some(format!("{RAW}size: {{{{.Size}}}}\n")),
        Some("raw") => Some(RAW.to_owned()),
        _ if args.quiet => Some("{{.ID}}".to_owned()),
        _ => given,
    };
    let columns = if args.size { &COLUMNS[..] } else { &COLUMNS[..COLUMNS.len() - 1] };
    let mut list = List::new(format.as_deref(), columns, &OTHERS)?;
    let mut added = Ok(());
    each(&text, |container: ContainerSummary| {
        if added.is_ok() {
            added = list.add(&listed(&container, args.no_trunc));
        }
    })?;
    added?;
    list.print();
    Ok(0)
}

/// Whether a template has sizes in it: by name, or because all of a row is asked for.
fn shows_sizes(template: &str) -> bool {
    template.contains(".Size") || template.split("json .").skip(1).any(|rest| !rest.starts_with(char::is_alphanumeric))
}

/// A container as templates see it.
fn listed(c: &ContainerSummary, full: bool) -> V {
    let mut listed = V::row("*formatter.ContainerContext", &row(c, full));
    if let V::Struct(inner) = &mut listed {
        inner.labels = Some(c.labels.clone());
    }
    listed
}

/// One row of a list.
pub fn row(c: &ContainerSummary, full: bool) -> Value {
    let cut = |text: &str, most: usize| if full { text.to_owned() } else { table::ellipsis(text, most) };
    let id = if full { c.id.as_str() } else { c.id.get(..12).unwrap_or(&c.id) };
    let image = match c.image.strip_prefix("sha256:") {
        Some(hex) if !full => hex.get(..12).unwrap_or(hex),
        _ => &c.image,
    };
    let labels: Vec<String> = c.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mounts: Vec<String> =
        c.mounts.iter().map(|m| cut(if m.name.is_empty() { m.source.as_str() } else { &m.name }, 15)).collect();
    json!({
        "ID": id,
        "Image": image,
        "Command": printf::quoted(&cut(&c.command, 20)),
        "RunningFor": units::ago(c.created),
        "CreatedAt": units::local_time(c.created),
        "Status": c.status,
        "State": c.state,
        "Ports": ports(&c.ports),
        "Names": c.names.iter().map(|n| n.trim_start_matches('/')).collect::<Vec<_>>().join(","),
        "Labels": labels.join(","),
        "Mounts": mounts.join(","),
        "Networks": c.network_settings.networks.keys().cloned().collect::<Vec<_>>().join(","),
        "Platform": Value::Null,
        "LocalVolumes": c.mounts.iter().filter(|m| m.r#type == "volume").count().to_string(),
        "Size": match c.size_root_fs {
            0 => units::human_size(c.size_rw),
            all => format!("{} (virtual {})", units::human_size(c.size_rw), units::human_size(all)),
        },
    })
}

/// `0.0.0.0:8080->80/tcp, 81/tcp`. Ports that follow each other are joined where nothing else is to be said of them: those
/// that are not published, and those that are published under their own number.
fn ports(ports: &[PortSummary]) -> String {
    let mut sorted: Vec<&PortSummary> = ports.iter().collect();
    sorted.sort_by(|a, b| {
        (a.private_port, &a.ip, a.public_port, &a.r#type).cmp(&(b.private_port, &b.ip, b.public_port, &b.r#type))
    });
    let at = |ip: &str, port: String| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    // Address and protocol, first and last port; in the order in which they came up.
    let mut groups: Vec<(&str, &str, u16, u16)> = Vec::new();
    let (mut whole, mut mapped) = (Vec::new(), Vec::new());
    let shown = |(ip, protocol, first, last): (&str, &str, u16, u16)| {
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match ip {
            "" => format!("{range}/{protocol}"),
            ip => format!("{}->{range}/{protocol}", at(ip, range.clone())),
        }
    };
    for port in sorted {
        let (ip, protocol, private) = (port.ip.as_str(), port.r#type.as_str(), port.private_port);
        if !ip.is_empty() && port.public_port != private {
            mapped.push(format!("{}->{private}/{protocol}", at(ip, port.public_port.to_string())));
            continue;
        }
        match groups.iter_mut().find(|(i, p, ..)| *i == ip && *p == protocol) {
            None => groups.push((ip, protocol, private, private)),
            Some(group) if u32::from(group.3) + 1 == u32::from(private) => group.3 = private,
            Some(group) => {
                whole.push(shown(*group));
                *group = (ip, protocol, private, private);
            }
        }
    }
    whole.extend(groups.into_iter().map(shown));
    whole.extend(mapped);
    whole.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_joined_where_they_follow_each_other() {
        let p = |ip: &str, private, public| PortSummary {
            ip: ip.into(),
            private_port: private,
            public_port: public,
            r#type: "tcp".into(),
        };
        assert_eq!(ports(&[]), "");
        assert_eq!(ports(&[p("0.0.0.0", 80, 8080)]), "0.0.0.0:8080->80/tcp");
        assert_eq!(
            ports(&[p("0.0.0.0", 81, 8081), p("0.0.0.0", 80, 8080), p("", 443, 0)]),
            "443/tcp, 0.0.0.0:8080->80/tcp, 0.0.0.0:8081->81/tcp"
        );
        assert_eq!(
            ports(&[p("0.0.0.0", 80, 8080), p("0.0.0.0", 81, 9000)]),
            "0.0.0.0:8080->80/tcp, 0.0.0.0:9000->81/tcp"
        );
        assert_eq!(ports(&[p("::", 80, 8080)]), "[::]:8080->80/tcp");
        assert_eq!(ports(&[p("::", 80, 80), p("::", 81, 81), p("", 90, 0)]), "[::]:80-81->80-81/tcp, 90/tcp");
        assert_eq!(ports(&[p("", 80, 0), p("", 82, 0), p("", 81, 0), p("", 90, 0)]), "80-82/tcp, 90/tcp");
    }
}
