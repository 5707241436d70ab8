//! Health checks: what is checked, when, and what a result means. Nothing here runs anything.
//!
//! Rules: Docker's, as its documentation of HEALTHCHECK tells them; times count from the end of one check to the start
//! of the next.

use crate::config::{ContainerConfig, HealthConfig, HostConfig};
use crate::view::{HealthStatus, HealthView, Probe};
use dhow_shim::protocol::Captured;
use dhow_types::duration::go_text;
use dhow_types::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

/// Bytes kept of what a check writes.
pub const MAX_OUTPUT: u32 = 4096;
/// Checks that are remembered.
const MAX_LOG: usize = 5;
/// The shortest time that is no zero, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// A health check with everything decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Between two checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// In which failures do not count, until the first success.
    pub start_period: Duration,
    /// Between two checks in that period.
    pub start_interval: Duration,
    /// Failures that make a container unhealthy.
    pub retries: u32,
}

/// The check of a container, if it has one.
pub fn resolve(config: &ContainerConfig) -> Option<Check> {
    let health = config.healthcheck.as_ref()?;
    let (kind, words) = health.test.split_first()?;
    let command = match kind.as_str() {
        "CMD" => words.to_vec(),
        "CMD-SHELL" => {
            let shell = config.shell.as_deref().filter(|s| !s.is_empty());
            let shell = shell.map_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()], <[_]>::to_vec);
            shell.into_iter().chain(words.iter().cloned()).collect()
        }
        _ => return None,
    };
    if words.is_empty() {
        return None;
    }
    let time = |nanos: i64, default: Duration| match u64::try_from(nanos) {
        Ok(0) | Err(_) => default,
        Ok(nanos) => Duration::from_nanos(nanos.max(SHORTEST as u64)),
    };
    Some(Check {
        command,
        interval: time(health.interval, INTERVAL),
        timeout: time(health.timeout, TIMEOUT),
        start_period: time(health.start_period, Duration::ZERO),
        start_interval: time(health.start_interval, START_INTERVAL),
        retries: u32::try_from(health.retries).ok().filter(|n| *n > 0).unwrap_or(RETRIES),
    })
}

/// Refuses what a request can't mean, in Docker's words where it has some.
pub fn check(asked: &HealthConfig) -> Result<()> {
    let times = [
        ("Interval", asked.interval),
        ("Timeout", asked.timeout),
        ("StartPeriod", asked.start_period),
        ("StartInterval", asked.start_interval),
    ];
    for (name, nanos) in times {
        if nanos != 0 && nanos < SHORTEST {
            return Err(Error::invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    if asked.retries < 0 {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    if asked.test.iter().any(|word| word.contains('\0')) {
        return Err(Error::invalid("Test in Healthcheck contains a zero byte"));
    }
    match asked.test.split_first() {
        None => Ok(()),
        Some((kind, _)) if kind == "NONE" => Ok(()),
        Some((kind, words)) if kind == "CMD" || kind == "CMD-SHELL" => match words {
            [] => Err(Error::invalid(format!("Test in Healthcheck has no command after {kind}"))),
            [first, ..] if first.is_empty() && kind == "CMD" => {
                Err(Error::invalid("Test in Healthcheck names an empty program"))
            }
            _ => Ok(()),
        },
        Some((kind, _)) => Err(Error::invalid(format!(
            "Test in Healthcheck begins with {kind:?}: use CMD, CMD-SHELL or NONE (none of them: write [\"CMD-SHELL\", …])"
        ))),
    }
}

/// What a user should know about the check of a container, after the merge with its image.
pub fn warning(config: &ContainerConfig) -> Option<String> {
    let health = config.healthcheck.as_ref()?;
    match health.test.first().map(String::as_str) {
        Some("NONE") => None,
        None => Some("A health check without a command: nothing is checked. Name one by --health-cmd.".to_owned()),
        Some(_) if resolve(config).is_some() => None,
        Some(kind) => Some(format!("The image's health check is of the unknown kind {kind:?}: nothing is checked.")),
    }
}

/// What `asked` leaves open is as the image has it, one field at a time.
pub fn merge(asked: Option<&HealthConfig>, image: Option<&HealthConfig>) -> Option<HealthConfig> {
    let (Some(asked), Some(image)) = (asked, image) else { return asked.or(image).cloned() };
    let or = |asked: i64, image: i64| if asked == 0 { image } else { asked };
    Some(HealthConfig {
        test: if asked.test.is_empty() { image.test.clone() } else { asked.test.clone() },
        interval: or(asked.interval, image.interval),
        timeout: or(asked.timeout, image.timeout),
        retries: or(asked.retries, image.retries),
        start_period: or(asked.start_period, image.start_period),
        start_interval: or(asked.start_interval, image.start_interval),
    })
}

/// How long to wait for the next check, so long after the container's start.
pub fn next_wait(check: &Check, status: HealthStatus, since_start: Duration) -> Duration {
    if status == HealthStatus::Starting && since_start < check.start_period {
        check.start_interval
    } else {
        check.interval
    }
}

/// Takes a result that began so long after the container's start. True if the status is another one now.
pub fn judge(check: &Check, health: &mut HealthView, probe: Probe, since_start: Duration) -> bool {
    let before = health.status;
    if probe.exit_code == 0 {
        health.failing_streak = 0;
        health.restarts = 0;
        health.status = HealthStatus::Healthy;
    } else if before != HealthStatus::Starting || since_start >= check.start_period {
        health.failing_streak = health.failing_streak.saturating_add(1);
        if health.failing_streak >= check.retries {
            health.status = HealthStatus::Unhealthy;
        }
    }
    let over = (health.log.len() + 1).saturating_sub(MAX_LOG);
    health.log.drain(..over);
    health.log.push(Arc::new(probe));
    health.status != before
}

/// Exit code and text of a check that ran.
pub fn outcome(check: &Check, exit_code: i32, captured: Captured) -> (i32, Box<str>) {
    let Captured { mut text, cut, timed_out } = captured;
    if cut {
        text.push_str("...");
    }
    if timed_out {
        return (-1, timed_out_text(check, &text));
    }
    (exit_code, text.into())
}

/// What is said of a check that took too long.
pub fn timed_out_text(check: &Check, output: &str) -> Box<str> {
    let time = go_text(check.timeout);
    match output {
        "" => format!("Health check exceeded timeout ({time})").into(),
        output => format!("Health check exceeded timeout ({time}): {output}").into(),
    }
}

/// When a container is to be restarted for its health's sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartOn {
    /// So many times in a row; `None` is always.
    pub limit: Option<u32>,
}

/// The annotation that says it for clients without the field.
const ANNOTATION: &str = "dhow.restart-on";

/// Whether a container is restarted for its health's sake, and what contradicts that.
pub fn restarts(host: &HostConfig) -> Result<Option<RestartOn>> {
    let asked = Some(host.restart_on.as_str()).filter(|t| !t.is_empty());
    let Some(text) = asked.or(host.annotations.get(ANNOTATION).map(String::as_str)) else { return Ok(None) };
    if host.auto_remove {
        return Err(Error::invalid("conflicting options: cannot specify both --restart-on and --rm"));
    }
    restart_on(text).map(Some)
}

/// Refuses what would never happen.
pub fn check_restarts(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    if restarts(host)?.is_some() && resolve(config).is_none() {
        return Err(Error::invalid("--restart-on unhealthy: the container has no health check (--health-cmd)"));
    }
    Ok(())
}

/// Whether a container whose status has just changed is restarted; counts it.
pub fn is_restarted(wanted: Option<RestartOn>, health: &mut Option<HealthView>) -> bool {
    let (Some(wanted), Some(health)) = (wanted, health) else { return false };
    let again = health.status == HealthStatus::Unhealthy && wanted.limit.is_none_or(|limit| health.restarts < limit);
    health.restarts += u32::from(again);
    again
}

/// Reads `unhealthy[:n]`.
fn restart_on(text: &str) -> Result<RestartOn> {
    let wrong = || {
        Error::invalid(format!(
            "invalid --restart-on {text:?}: want unhealthy, or unhealthy:N for at most N times in a row"
        ))
    };
    match text.split_once(':') {
        None if text == "unhealthy" => Ok(RestartOn { limit: None }),
        Some(("unhealthy", n)) if n.bytes().all(|b| b.is_ascii_digit()) => match n.parse() {
            Ok(limit @ 1..) => Ok(RestartOn { limit: Some(limit) }),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::HealthStatus::{Healthy, Starting, Unhealthy};
    use jiff::Timestamp;

    fn words(s: &[&str]) -> Vec<String> {
        s.iter().map(|s| (*s).to_owned()).collect()
    }

    fn config(test: &[&str]) -> ContainerConfig {
        let health = HealthConfig { test: words(test), ..HealthConfig::default() };
        ContainerConfig { healthcheck: Some(health), ..ContainerConfig::default() }
    }

    fn probe(exit_code: i32) -> Probe {
        Probe { start: Timestamp::UNIX_EPOCH, end: Timestamp::UNIX_EPOCH, exit_code, output: "".into() }
    }

    const S: i64 = 1_000_000_000;

    #[test]
    fn what_is_run() {
        let command = |config: &ContainerConfig| resolve(config).map(|c| c.command);
        assert_eq!(command(&config(&["CMD", "a", "b c"])), Some(words(&["a", "b c"])));
        assert_eq!(command(&config(&["CMD-SHELL", "a b"])), Some(words(&["/bin/sh", "-c", "a b"])));
        let bash = ContainerConfig { shell: Some(words(&["bash", "-ec"])), ..config(&["CMD-SHELL", "x"]) };
        assert_eq!(command(&bash), Some(words(&["bash", "-ec", "x"])));
        for nothing in [&[][..], &["NONE"], &["NONE", "x"], &["CMD"], &["curl", "x"]] {
            assert_eq!(command(&config(nothing)), None, "{nothing:?}");
        }
        assert_eq!(resolve(&ContainerConfig::default()), None);
    }

    #[test]
    fn times_and_their_defaults() {
        let check = resolve(&config(&["CMD", "x"])).unwrap();
        let secs = |c: &Check| [c.interval, c.timeout, c.start_period, c.start_interval].map(|t| t.as_secs());
        assert_eq!((secs(&check), check.retries), ([30, 30, 0, 5], 3));
        let mut given = config(&["CMD", "x"]);
        if let Some(h) = &mut given.healthcheck {
            (h.interval, h.timeout, h.start_period, h.start_interval, h.retries) = (S, 2 * S, 3 * S, 4 * S, 5);
        }
        let check = resolve(&given).unwrap();
        assert_eq!((secs(&check), check.retries), ([1, 2, 3, 4], 5));
        // An image may say what a request may not.
        if let Some(h) = &mut given.healthcheck {
            (h.interval, h.timeout, h.retries) = (1, -1, -1);
        }
        let check = resolve(&given).unwrap();
        assert_eq!((check.interval.as_millis(), check.timeout, check.retries), (1, TIMEOUT, 3));
    }

    #[test]
    fn waits() {
        let mut check = resolve(&config(&["CMD", "x"])).unwrap();
        check.start_period = Duration::from_secs(60);
        for (status, since, want) in
            [(Starting, 0, 5), (Starting, 59, 5), (Starting, 60, 30), (Healthy, 0, 30), (Unhealthy, 10, 30)]
        {
            let wait = next_wait(&check, status, Duration::from_secs(since));
            assert_eq!(wait.as_secs(), want, "{status:?} {since}");
        }
        check.start_period = Duration::ZERO;
        assert_eq!(next_wait(&check, Starting, Duration::ZERO).as_secs(), 30);
    }

    #[test]
    fn results_in_a_row() {
        // Start period, then (seconds since the start, exit code, status, streak, changed) of each check.
        type Row = (u64, i32, HealthStatus, u32, bool);
        let stories: [(u64, &[Row]); 5] = [
            (0, &[(1, 0, Healthy, 0, true), (2, 1, Healthy, 1, false), (3, 0, Healthy, 0, false)]),
            (
                0,
                &[
                    (1, 1, Starting, 1, false),
                    (2, 2, Starting, 2, false),
                    (3, -1, Unhealthy, 3, true),
                    (4, 137, Unhealthy, 4, false),
                    (5, 0, Healthy, 0, true),
                ],
            ),
            // Failures within the start period do not count…
            (
                10,
                &[
                    (1, 1, Starting, 0, false),
                    (9, 1, Starting, 0, false),
                    (10, 1, Starting, 1, false),
                    (11, 1, Starting, 2, false),
                    (12, 1, Unhealthy, 3, true),
                ],
            ),
            // …until it was healthy once.
            (
                10,
                &[
                    (1, 0, Healthy, 0, true),
                    (2, 1, Healthy, 1, false),
                    (3, 1, Healthy, 2, false),
                    (4, 1, Unhealthy, 3, true),
                ],
            ),
            (10, &[(1, 1, Starting, 0, false), (2, 0, Healthy, 0, true)]),
        ];
        for (start_period, rows) in stories {
            let mut check = resolve(&config(&["CMD", "x"])).unwrap();
            check.start_period = Duration::from_secs(start_period);
            let mut health = HealthView::default();
            for (since, code, status, streak, changed) in rows {
                let got = judge(&check, &mut health, probe(*code), Duration::from_secs(*since));
                assert_eq!(
                    (health.status, health.failing_streak, got),
                    (*status, *streak, *changed),
                    "{since} {rows:?}"
                );
            }
        }
    }

    #[test]
    fn the_last_five_are_kept() {
        let check = resolve(&config(&["CMD", "x"])).unwrap();
        let mut health = HealthView { restarts: 2, ..HealthView::default() };
        for code in 1..=8 {
            judge(&check, &mut health, probe(code), Duration::ZERO);
        }
        assert_eq!(health.log.iter().map(|p| p.exit_code).collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
        assert_eq!((health.failing_streak, health.restarts), (8, 2));
        let text = serde_json::to_string(&health).unwrap();
        assert_eq!(serde_json::from_str::<HealthView>(&text).unwrap(), health);
        judge(&check, &mut health, probe(0), Duration::ZERO);
        assert_eq!((health.log.len(), health.restarts), (5, 0));
    }

    #[test]
    fn outputs() {
        let mut check = resolve(&config(&["CMD", "x"])).unwrap();
        check.timeout = Duration::from_millis(90_500);
        let got = |text: &str, cut, timed_out| outcome(&check, 9, Captured { text: text.into(), cut, timed_out });
        assert_eq!(got("a\n", false, false), (9, "a\n".into()));
        assert_eq!(got("a", true, false), (9, "a...".into()));
        assert_eq!(got("", false, true), (-1, "Health check exceeded timeout (1m30.5s)".into()));
        assert_eq!(got("a", true, true), (-1, "Health check exceeded timeout (1m30.5s): a...".into()));
    }

    #[test]
    fn the_image_fills_what_is_left_open() {
        let image = HealthConfig {
            test: words(&["CMD", "i"]),
            interval: 1,
            timeout: 2,
            retries: 3,
            start_period: 4,
            start_interval: 5,
        };
        let asked = HealthConfig { interval: 10, retries: 30, ..HealthConfig::default() };
        let want = HealthConfig { interval: 10, retries: 30, ..image.clone() };
        assert_eq!(merge(Some(&asked), Some(&image)), Some(want));
        let none = HealthConfig { test: words(&["NONE"]), ..HealthConfig::default() };
        assert_eq!(merge(Some(&none), Some(&image)).unwrap().test, ["NONE"]);
        assert_eq!(merge(None, Some(&image)), Some(image.clone()));
        assert_eq!(merge(Some(&asked), None), Some(asked));
        assert_eq!(merge(None, None), None);
    }

    #[test]
    fn what_is_refused() {
        let with = |change: fn(&mut HealthConfig)| {
            let mut asked = HealthConfig { test: words(&["CMD", "x"]), ..HealthConfig::default() };
            change(&mut asked);
            check(&asked).map_err(|e| e.text().to_owned())
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|h| h.interval = 1_000_000), Ok(()));
        type Row = (fn(&mut HealthConfig), &'static str);
        let rows: [Row; 10] = [
            (|h| h.interval = 999_999, "Interval in Healthcheck cannot be less than 1ms"),
            (|h| h.timeout = -1, "Timeout in Healthcheck cannot be less than 1ms"),
            (|h| h.start_period = 1, "StartPeriod in Healthcheck cannot be less than 1ms"),
            (|h| h.start_interval = 1, "StartInterval in Healthcheck cannot be less than 1ms"),
            (|h| h.retries = -1, "Retries in Healthcheck cannot be negative"),
            (|h| h.test = words(&["CMD"]), "Test in Healthcheck has no command after CMD"),
            (|h| h.test = words(&["CMD-SHELL"]), "Test in Healthcheck has no command after CMD-SHELL"),
            (|h| h.test = words(&["CMD", ""]), "Test in Healthcheck names an empty program"),
            (|h| h.test = words(&["CMD", "a\0"]), "Test in Healthcheck contains a zero byte"),
            (|h| h.test = words(&["curl", "x"]), "Test in Healthcheck begins with \"curl\""),
        ];
        for (change, text) in rows {
            assert!(with(change).unwrap_err().starts_with(text), "{text}");
        }
    }

    #[test]
    fn warnings() {
        assert!(warning(&config(&["CMD", "x"])).is_none() && warning(&config(&["NONE"])).is_none());
        assert!(warning(&ContainerConfig::default()).is_none());
        assert!(warning(&config(&[])).unwrap().contains("--health-cmd"));
        assert!(warning(&config(&["WASM", "x"])).unwrap().contains("\"WASM\""));
    }

    #[test]
    fn what_contradicts_restarts() {
        let host = |restart_on: &str| HostConfig { restart_on: restart_on.into(), ..HostConfig::default() };
        let always = Some(RestartOn { limit: None });
        assert_eq!(restarts(&host("")).unwrap(), None);
        assert_eq!(restarts(&host("unhealthy")).unwrap(), always);
        let annotations = [(ANNOTATION.to_owned(), "unhealthy:2".to_owned())].into();
        let annotated = HostConfig { annotations, ..host("") };
        assert_eq!(restarts(&annotated).unwrap(), Some(RestartOn { limit: Some(2) }));
        assert!(restarts(&HostConfig { auto_remove: true, ..annotated.clone() }).unwrap_err().text().contains("--rm"));
        assert_eq!(restarts(&HostConfig { restart_on: "unhealthy".into(), ..annotated.clone() }).unwrap(), always);
        check_restarts(&config(&["CMD", "x"]), &annotated).unwrap();
        check_restarts(&ContainerConfig::default(), &host("")).unwrap();
        assert!(check_restarts(&config(&["NONE"]), &annotated).unwrap_err().text().contains("no health check"));
    }

    #[test]
    fn restarts_in_a_row_are_counted() {
        let ill = HealthView { status: Unhealthy, ..HealthView::default() };
        let mut health = Some(ill);
        let twice = Some(RestartOn { limit: Some(2) });
        let got: Vec<bool> = (0..4).map(|_| is_restarted(twice, &mut health)).collect();
        assert_eq!(got, [true, true, false, false]);
        assert!(is_restarted(Some(RestartOn { limit: None }), &mut health) && !is_restarted(None, &mut health));
        let mut well = Some(HealthView { status: Healthy, ..HealthView::default() });
        assert!(!is_restarted(twice, &mut well) && !is_restarted(twice, &mut None));
    }

    #[test]
    fn when_to_restart() {
        for (text, want) in [("unhealthy", Some(None)), ("unhealthy:3", Some(Some(3)))] {
            assert_eq!(restart_on(text).ok().map(|r| r.limit), want, "{text}");
        }
        for bad in
            ["", "healthy", "unhealthy:", "unhealthy:0", "unhealthy:-1", "unhealthy:+1", "unhealthy:x", "unhealthy:1:2"]
        {
            assert!(restart_on(bad).unwrap_err().text().contains("unhealthy:N"), "{bad}");
        }
    }
}
