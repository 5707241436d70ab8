//! `search`: images of a registry by words.

use super::context::Context;
use super::interrupt::Leave;
use super::pull::AUTH;
use super::template::V;
use super::{credentials, listing, output, table};
use anyhow::Result;
use clap::Parser;
use dhow_client::query;
use serde::Deserialize;
use serde_json::{Value, json};

/// So many characters of a description fit into the table.
const DESCRIPTION: usize = 45;

/// Search for images (on Docker Hub, where no other registry is named)
#[derive(Parser, Debug)]
#[command(after_help = "Fields of a template: .Name .Description .StarCount .IsOfficial.")]
pub struct SearchArgs {
    /// Only those that match (is-official=, stars=)
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = listing::filter)]
    filter: Vec<String>,
    /// Go template, `table …` or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 0, allow_hyphen_values = true)]
    limit: i64,
    /// Print descriptions in full
    #[arg(long)]
    no_trunc: bool,
    /// What to look for
    #[arg(value_name = "TERM")]
    term: String,
}

const COLUMNS: [(&str, &str); 4] =
    [("NAME", "Name"), ("DESCRIPTION", "Description"), ("STARS", "StarCount"), ("OFFICIAL", "IsOfficial")];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Found {
    name: String,
    description: String,
    star_count: i64,
    is_official: bool,
}

/// `dhow search`.
pub fn search(context: &Context, args: SearchArgs) -> Result<i32> {
    let filters = listing::read_filters(&args.filter);
    if filters.values("is-automated").next().is_some() {
        output::note(
            "WARNING: the \"is-automated\" filter is deprecated, and searching for \"is-automated=true\" will not yield any results in future.",
        );
    }
    let header = credentials::header(credentials::names::of_term(&args.term));
    let fields: Vec<(&str, &str)> = header.iter().map(|value| (AUTH, value.as_str())).collect();
    let path = format!(
        "/images/search{}",
        query::build(&[
            ("term", Some(args.term.clone())),
            ("limit", (args.limit != 0).then(|| args.limit.to_string())),
            ("filters", (!filters.is_empty()).then(|| filters.to_text())),
        ])
    );
    let client = context.client();
    context.awake(&client)?;
    let found: Vec<Found> = {
        let _leave = Leave::when_interrupted(None)?;
        client.send_fields("GET", &path, &fields)?.json()?
    };
    let format = args.format.as_deref();
    let rows: Vec<Value> = found.iter().map(|f| row(f, args.no_trunc, format == Some("json"))).collect();
    let rows: Vec<V> = rows.iter().map(|row| V::row("*registry.searchContext", row)).collect();
    listing::print(format, &COLUMNS, &[], &rows)?;
    Ok(0)
}

fn row(found: &Found, full: bool, json: bool) -> Value {
    let line = found.description.replace(['\n', '\r'], " ");
    let official = match (found.is_official, json) {
        (true, true) => "true",
        (false, true) => "false",
        (true, false) => "[OK]",
        (false, false) => "",
    };
    json!({
        "Description": if full { line } else { table::ellipsis(&line, DESCRIPTION) },
        "IsOfficial": official,
        "Name": found.name,
        "StarCount": found.star_count.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let found = Found {
            name: "a".into(),
            description: format!("x\ny{}", "z".repeat(60)),
            star_count: 7,
            is_official: true,
        };
        let short = row(&found, false, false);
        assert_eq!(short["Description"].as_str().unwrap(), format!("x y{}…", "z".repeat(41)));
        assert_eq!((&short["IsOfficial"], &short["StarCount"]), (&json!("[OK]"), &json!("7")));
        let full = row(&found, true, true);
        assert_eq!(full["Description"].as_str().unwrap().chars().count(), 63);
        assert_eq!(full["IsOfficial"], "true");
    }
}
