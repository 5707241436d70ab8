//! `logs`.

use super::context::Context;
use super::units;
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use dhow_api::ContainerInspect;
use dhow_client::{Multiplexed, demultiplex, query};
use std::io::{Read, Write};

/// Show what a container has written
#[derive(Parser, Debug)]
pub struct LogsArgs {
    /// Go on with what it writes from now on
    #[arg(short, long)]
    follow: bool,
    /// From this time on: 2026-01-02T15:04:05Z, a Unix time, or an age such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The last N lines (all)
    #[arg(short = 'n', long, value_name = "N", default_value = "all")]
    tail: String,
    /// Begin each line with its time
    #[arg(short, long)]
    timestamps: bool,
    /// Put before each line the labels and variables that --log-opt labels, env and the like choose
    #[arg(long)]
    details: bool,
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// `dhow logs`.
pub fn logs(context: &Context, args: LogsArgs) -> Result<i32> {
    let client = context.client();
    let name = query::encode(&args.container);
    let inspected: ContainerInspect = context.with_daemon(&client, |c| c.get(&format!("/containers/{name}/json")))?;
    let now = jiff::Timestamp::now();
    let time = |name: &str, text: &Option<String>| {
        text.as_deref().map(|t| moment(t, now).with_context(|| format!("invalid value for {name:?}"))).transpose()
    };
    let path = format!(
        "/containers/{name}/logs{}",
        query::build(&[
            ("stdout", query::flag(true)),
            ("stderr", query::flag(true)),
            ("follow", query::flag(args.follow)),
            ("timestamps", query::flag(args.timestamps)),
            ("details", query::flag(args.details)),
            ("since", time("since", &args.since)?),
            ("until", time("until", &args.until)?),
            ("tail", Some(args.tail.clone())),
            // A frame need not be a line here; Docker's daemon does not know the word.
            ("blocks", query::flag(true)),
        ])
    );
    let mut body = client.send("GET", &path)?.body;
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let copied = if inspected.config.tty {
        copy(&mut body, &mut out)
    } else {
        demultiplex(&mut body, |stream, bytes| match stream {
            Multiplexed::Stdout => out.write_all(bytes).and_then(|()| out.flush()),
            _ => err.write_all(bytes).and_then(|()| err.flush()),
        })
    };
    match copied {
        // `dhow logs | head`: the reader has what it wanted
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        // What the daemon says of it, in the words of Docker's client.
        Err(e) if e.kind() == std::io::ErrorKind::Other => bail!("{e}"),
        other => other.map(|()| 0).context("read the log"),
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n]).and_then(|()| to.flush())?,
        }
    }
}

/// A moment as the API has it, seconds and nanoseconds since 1970: from a time, a Unix time, or an age.
pub fn moment(text: &str, now: jiff::Timestamp) -> Result<String> {
    if let Some(age) = units::duration_ns(text) {
        let then = now.as_nanosecond() - i128::from(age);
        return Ok(format!("{}.{:09}", then.div_euclid(1_000_000_000), then.rem_euclid(1_000_000_000)));
    }
    if text.parse::<f64>().is_ok() {
        return Ok(text.to_owned());
    }
    let parsed = text
        .parse::<jiff::Timestamp>()
        .or_else(|_| {
            // without a zone: the caller's own
            text.parse::<jiff::civil::DateTime>()
                .or_else(|_| text.parse::<jiff::civil::Date>().map(|d| d.to_datetime(jiff::civil::Time::midnight())))
                .and_then(|t| jiff::tz::TimeZone::system().to_timestamp(t))
        })
        .ok();
    match parsed {
        Some(t) => Ok(format!("{}.{:09}", t.as_second(), t.subsec_nanosecond())),
        None => bail!("failed to parse value as time or duration: {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now: jiff::Timestamp = "2026-01-02T00:00:10Z".parse().unwrap();
        assert_eq!(moment("10s", now).unwrap(), "1767312000.000000000");
        assert_eq!(moment("1767312000.5", now).unwrap(), "1767312000.5");
        assert_eq!(moment("2026-01-02T00:00:00Z", now).unwrap(), "1767312000.000000000");
        assert!(moment("2026-01-02", now).is_ok());
        assert!(moment("yesterday", now).is_err());
    }
}
