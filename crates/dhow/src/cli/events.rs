//! `events`.

use super::context::Context;
use super::template::{Template, unescape};
use super::{Exit, listing, logs, output};
use anyhow::{Context as _, Result};
use clap::Parser;
use dhow_api::EventMessage;
use dhow_client::query;
use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};
use std::io::{BufRead, BufReader};

/// Docker's exit code for a format that can't be read.
const BAD_FORMAT: i32 = 64;
/// Longest event that is read.
const MAX_LINE: u64 = 4 << 20;

/// Show what happens to containers, images, volumes and networks
#[derive(Parser, Debug)]
pub struct EventsArgs {
    /// Only these: event=start, type=container, container=NAME, image=NAME, label=KEY[=VALUE], volume=, network=, …
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// A Go template for each event, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Also what happened from this time on: 2026-01-02T15:04:05Z, a Unix time, or an age such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// `dhow events`.
pub fn events(context: &Context, args: EventsArgs) -> Result<i32> {
    let form = match args.format.as_deref() {
        None | Some("") => Form::Line,
        Some("json") => Form::Json,
        Some(text) => match Template::parse(&unescape(text)) {
            Ok(template) => Form::Template(template),
            Err(e) => {
                output::note(format!("Error parsing format: {e:#}"));
                return Err(Exit(BAD_FORMAT).into());
            }
        },
    };
    let now = Timestamp::now();
    let time = |text: &Option<String>| text.as_deref().map(|t| logs::moment(t, now)).transpose();
    let path = format!(
        "/events{}",
        query::build(&[
            ("since", time(&args.since)?),
            ("until", time(&args.until)?),
            ("filters", listing::filters(&args.filter))
        ])
    );
    let client = context.client();
    context.awake(&client)?;
    let answer = client.send("GET", &path)?;
    let mut body = BufReader::new(answer.body);
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = std::io::Read::take(&mut body, MAX_LINE).read_until(b'\n', &mut line).context("read the events")?;
        if n == 0 {
            return Ok(0);
        }
        let text = match &form {
            Form::Line => {
                let event: EventMessage = serde_json::from_slice(&line).context("read an event")?;
                as_line(&event, &TimeZone::system())
            }
            Form::Json => String::from_utf8_lossy(line.trim_ascii_end()).into_owned(),
            Form::Template(template) => template.render(&serde_json::from_slice(&line).context("read an event")?)?,
        };
        output::line(text);
    }
}

enum Form {
    Line,
    Json,
    Template(Template),
}

/// Docker's line: time, kind, action, id, and the attributes by their names.
fn as_line(event: &EventMessage, zone: &TimeZone) -> String {
    let at = Timestamp::from_nanosecond(i128::from(event.time_nano)).unwrap_or_default();
    let time = ZonedDateTime::new(at, zone.clone());
    let offset = match time.offset().is_zero() {
        true => "Z".to_owned(),
        false => time.strftime("%:z").to_string(),
    };
    let mut line = format!(
        "{}{offset} {} {} {}",
        time.strftime("%Y-%m-%dT%H:%M:%S.%9f"),
        event.kind,
        event.action,
        event.actor.id
    );
    if !event.actor.attributes.is_empty() {
        let attributes: Vec<String> = event.actor.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
        line.push_str(&format!(" ({})", attributes.join(", ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_dockers() {
        let mut event = EventMessage {
            kind: "container".into(),
            action: "die".into(),
            time_nano: 1_767_366_245_000_000_700,
            ..Default::default()
        };
        event.actor.id = "abc".into();
        assert_eq!(as_line(&event, &TimeZone::UTC), "2026-01-02T15:04:05.000000700Z container die abc");
        event.actor.attributes = [("name".into(), "web".into()), ("exitCode".into(), "0".into())].into();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(
            as_line(&event, &zone),
            "2026-01-02T17:04:05.000000700+02:00 container die abc (exitCode=0, name=web)"
        );
    }
}
