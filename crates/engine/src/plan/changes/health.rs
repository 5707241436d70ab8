//! HEALTHCHECK: its flags and its command.

use super::{head, json_words};
use dhow_types::duration::go_nanoseconds;
use dhow_types::image::Healthcheck;
use dhow_types::{Error, Result};

/// The shortest time that is no zero, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

/// What follows the word.
pub(super) fn parse(text: &str) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = head(flag);
        let (name, value) =
            flag.split_once('=').ok_or_else(|| Error::invalid(format!("missing a value on flag: {flag}")))?;
        match name {
            "interval" => check.interval = duration(name, value)?,
            "timeout" => check.timeout = duration(name, value)?,
            "start-period" => check.start_period = duration(name, value)?,
            "start-interval" => check.start_interval = duration(name, value)?,
            "retries" => {
                let count: i64 = value.parse().map_err(|_| Error::invalid(format!("invalid --retries {value:?}")))?;
                if count < 0 {
                    return Err(Error::invalid(format!("--retries cannot be negative ({count})")));
                }
                check.retries = count;
            }
            _ => return Err(Error::invalid(format!("unknown flag: --{name}"))),
        }
        rest = after;
    }
    let (kind, command) = head(rest);
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if !command.is_empty() => Err(Error::invalid("HEALTHCHECK NONE takes no arguments")),
        "NONE" => Ok(Healthcheck { test: vec!["NONE".to_owned()], ..check }),
        "CMD" if command.is_empty() => Err(Error::invalid("Missing command after HEALTHCHECK CMD")),
        "CMD" => {
            let (first, words) = match json_words(command) {
                Some(words) if words.is_empty() => return Err(Error::invalid("Missing command after HEALTHCHECK CMD")),
                Some(words) => ("CMD", words),
                None => ("CMD-SHELL", vec![command.to_owned()]),
            };
            Ok(Healthcheck { test: std::iter::once(first.to_owned()).chain(words).collect(), ..check })
        }
        other => Err(Error::invalid(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"))),
    }
}

/// Nanoseconds of `1h2m3.5s`; 0 means that it is inherited.
fn duration(name: &str, text: &str) -> Result<i64> {
    match go_nanoseconds(text).or((text == "0").then_some(0)) {
        None => Err(Error::invalid(format!("invalid --{name} {text:?}: want a duration like 30s, 1m30s or 500ms"))),
        Some(short @ 1..SHORTEST) => Err(Error::invalid(format!("--{name} cannot be less than 1ms: {short}ns"))),
        Some(nanos) => Ok(nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        for (text, want) in [
            ("0", 0),
            ("30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("500ms", 500_000_000),
            ("1000us", 1_000_000),
        ] {
            assert_eq!(duration("x", text).unwrap(), want, "{text}");
        }
        for bad in ["", "1", "s", "1x", "-1s", "1s2", "1..5s", "9999999999h", "1us", "1 s"] {
            assert!(duration("x", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn checks() {
        let test = |text: &str| parse(text).map(|c| c.test);
        assert_eq!(test("NONE").unwrap(), ["NONE"]);
        assert_eq!(test("CMD curl -f x || exit 1").unwrap(), ["CMD-SHELL", "curl -f x || exit 1"]);
        assert_eq!(test(r#"cmd ["a", "b"]"#).unwrap(), ["CMD", "a", "b"]);
        let all = parse("--interval=5s --timeout=1s  --start-period=2s --start-interval=3s --retries=4 CMD x").unwrap();
        assert_eq!(
            (all.interval, all.timeout, all.start_period, all.start_interval, all.retries),
            (5_000_000_000, 1_000_000_000, 2_000_000_000, 3_000_000_000, 4)
        );
        for bad in [
            "CMD",
            "CMD []",
            "NONE x",
            "x",
            "--interval CMD x",
            "--nope=1 CMD x",
            "--retries=-1 CMD x",
            "--retries=x CMD y",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
