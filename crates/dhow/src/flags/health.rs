//! The flags about a container's health, and what they become.

use super::values;
use anyhow::Result;
use clap::Args;
use dhow_api::HealthConfig;
use dhow_types::duration::go_nanoseconds;

/// How a container's health is checked.
#[derive(Args, Clone, Debug, Default)]
pub struct HealthFlags {
    /// Command to check the health with, in the container's shell
    #[arg(long, value_name = "COMMAND", help_heading = "Health")]
    pub health_cmd: Option<String>,
    /// Time between two checks (30s)
    #[arg(long, value_name = "TIME", help_heading = "Health", value_parser = values::duration)]
    pub health_interval: Option<String>,
    /// Failures in a row that make it unhealthy (3)
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Health")]
    pub health_retries: Option<i64>,
    /// Time between two checks in the start period (5s)
    #[arg(long, value_name = "TIME", help_heading = "Health", value_parser = values::duration)]
    pub health_start_interval: Option<String>,
    /// Time after the start in which failures do not count (0s)
    #[arg(long, value_name = "TIME", help_heading = "Health", value_parser = values::duration)]
    pub health_start_period: Option<String>,
    /// Time that one check may take (30s)
    #[arg(long, value_name = "TIME", help_heading = "Health", value_parser = values::duration)]
    pub health_timeout: Option<String>,
    /// Restart it when it becomes unhealthy: `unhealthy`, or `unhealthy:N` for at most N times in a row
    #[arg(long, value_name = "unhealthy[:N]", help_heading = "Health")]
    pub restart_on: Option<String>,
    /// No health check, whatever the image says
    #[arg(long, help_heading = "Health")]
    pub no_healthcheck: bool,
}

impl HealthFlags {
    /// The check that they describe, if they do. Order and words of what is refused are Docker's.
    pub fn config(&self) -> Result<Option<HealthConfig>> {
        let time = |text: &Option<String>| text.as_deref().map_or(Ok(0), duration);
        let interval = time(&self.health_interval)?;
        let timeout = time(&self.health_timeout)?;
        let start_period = time(&self.health_start_period)?;
        let start_interval = time(&self.health_start_interval)?;
        let retries = self.health_retries.unwrap_or_default();
        let command = self.health_cmd.as_deref().filter(|c| !c.is_empty());
        let times = [interval, timeout, retries, start_period, start_interval];
        let set = command.is_some() || times.iter().any(|n| *n != 0);
        if self.no_healthcheck {
            if set {
                anyhow::bail!("--no-healthcheck conflicts with --health-* options");
            }
            return Ok(Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }));
        }
        for (name, n) in ["interval", "timeout", "retries", "start-period", "start-interval"].into_iter().zip(times) {
            if n < 0 {
                anyhow::bail!("--health-{name} cannot be negative");
            }
        }
        let test = command.map(|c| vec!["CMD-SHELL".to_owned(), c.to_owned()]);
        Ok(set.then_some(HealthConfig { test, interval, timeout, start_period, start_interval, retries }))
    }
}

/// Nanoseconds of a duration as Go reads it.
pub fn duration(text: &str) -> Result<i64> {
    let (negative, bare) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanos = if bare == "0" { Some(0) } else { go_nanoseconds(bare) };
    match nanos {
        Some(nanos) if negative => Ok(-nanos),
        Some(nanos) => Ok(nanos),
        None => anyhow::bail!(why_no_duration(text, bare)),
    }
}

/// Go's words.
fn why_no_duration(text: &str, bare: &str) -> String {
    let number = |c: char| c.is_ascii_digit() || c == '.';
    let digits = bare.find(|c| !number(c)).unwrap_or(bare.len());
    let unit = &bare[digits..];
    let unit = &unit[..unit.find(number).unwrap_or(unit.len())];
    if digits == 0 || bare[..digits].parse::<f64>().is_err() {
        format!("time: invalid duration {text:?}")
    } else if digits == bare.len() {
        format!("time: missing unit in duration {text:?}")
    } else if ["ns", "us", "µs", "ms", "s", "m", "h"].contains(&unit) {
        format!("time: invalid duration {text:?}")
    } else {
        format!("time: unknown unit {unit:?} in duration {text:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut HealthFlags)) -> Result<Option<HealthConfig>> {
        let mut flags = HealthFlags::default();
        change(&mut flags);
        flags.config()
    }

    #[test]
    fn what_they_become() {
        assert_eq!(config(|_| ()).unwrap(), None);
        assert_eq!(config(|f| f.health_interval = Some("0s".into())).unwrap(), None);
        assert_eq!(config(|f| f.health_cmd = Some(String::new())).unwrap(), None);
        let none = config(|f| f.no_healthcheck = true).unwrap().unwrap();
        assert_eq!(none.test.unwrap(), ["NONE"]);
        let all = config(|f| {
            f.health_cmd = Some("test -e /ok".into());
            f.health_interval = Some("1m30s".into());
            f.health_timeout = Some("+1.5s".into());
            f.health_start_period = Some("2h".into());
            f.health_start_interval = Some("500ms".into());
            f.health_retries = Some(7);
        });
        let want = HealthConfig {
            test: Some(vec!["CMD-SHELL".into(), "test -e /ok".into()]),
            interval: 90_000_000_000,
            timeout: 1_500_000_000,
            start_period: 7_200_000_000_000,
            start_interval: 500_000_000,
            retries: 7,
        };
        assert_eq!(all.unwrap(), Some(want));
        let only = config(|f| f.health_interval = Some("1s".into())).unwrap().unwrap();
        assert_eq!((only.test, only.interval), (None, 1_000_000_000));
    }

    #[test]
    fn what_is_refused() {
        type Row = (fn(&mut HealthFlags), &'static str);
        let rows: [Row; 8] = [
            (
                |f| (f.no_healthcheck, f.health_cmd) = (true, Some("x".into())),
                "--no-healthcheck conflicts with --health-* options",
            ),
            (|f| f.health_interval = Some("-1s".into()), "--health-interval cannot be negative"),
            (|f| f.health_timeout = Some("-1ns".into()), "--health-timeout cannot be negative"),
            (|f| f.health_start_period = Some("-1s".into()), "--health-start-period cannot be negative"),
            (|f| f.health_start_interval = Some("-1s".into()), "--health-start-interval cannot be negative"),
            (|f| f.health_retries = Some(-1), "--health-retries cannot be negative"),
            (|f| f.health_interval = Some("10".into()), r#"time: missing unit in duration "10""#),
            (|f| f.health_timeout = Some("1x".into()), r#"time: unknown unit "x" in duration "1x""#),
        ];
        for (change, text) in rows {
            assert_eq!(config(change).unwrap_err().to_string(), text);
        }
    }
}
