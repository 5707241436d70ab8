//! Whether a container is started again, and after how long. Rule: Docker's restart manager. Nothing here reads a clock
//! or starts anything.

use crate::config::RestartPolicy;
use dhow_types::{Error, Result};
use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// A run of this length was no crash: the next wait is the first again.
const STEADY: Duration = Duration::from_secs(10);

/// How a run ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct End {
    /// Its exit code.
    pub(crate) code: i32,
    /// How long it ran.
    pub(crate) ran: Duration,
    /// Somebody sent it a signal.
    pub(crate) by_hand: bool,
    /// Somebody wanted it to end: what ends by that stays so.
    pub(crate) last: bool,
    /// Somebody wanted it to end and to be started again.
    pub(crate) asked: bool,
    /// How often it was started by itself since it was started by hand.
    pub(crate) count: u64,
    /// The wait before this run, zero if there was none.
    pub(crate) waited: Duration,
}

/// How long to wait before the next start; `None`: it stays as it is.
pub(crate) fn decide(policy: &RestartPolicy, end: &End) -> Option<Duration> {
    let most = u64::try_from(policy.maximum_retry_count).unwrap_or(0);
    let again = !end.last
        && (end.asked
            || match policy.name.as_str() {
                "always" => true,
                "unless-stopped" => !end.by_hand,
                "on-failure" => end.code != 0 && (most == 0 || end.count < most),
                _ => false,
            });
    again.then(|| back_off(end.waited, end.ran))
}

/// The wait after a run that was begun after `waited`.
fn back_off(waited: Duration, ran: Duration) -> Duration {
    match waited {
        _ if ran >= STEADY => FIRST,
        Duration::ZERO => FIRST,
        waited => waited.saturating_mul(2).min(LONGEST),
    }
}

/// Whether a container that was started once, and has ended, is started when the daemon comes up.
pub(crate) fn at_start_up(policy: &RestartPolicy, by_hand: bool) -> bool {
    match policy.name.as_str() {
        "always" => true,
        "unless-stopped" => !by_hand,
        _ => false,
    }
}

/// Whether it does anything.
pub(crate) fn is_none(policy: &RestartPolicy) -> bool {
    matches!(policy.name.as_str(), "" | "no")
}

/// Checks the words and numbers.
pub(crate) fn check(policy: &RestartPolicy) -> Result<()> {
    const ONLY: &str = "invalid restart policy: maximum retry count can only be used with 'on-failure'";
    let count = policy.maximum_retry_count;
    match policy.name.as_str() {
        // Docker takes any number without a name.
        "" => Ok(()),
        "no" | "always" | "unless-stopped" => match count {
            0 => Ok(()),
            1.. => Err(Error::invalid(ONLY)),
            _ => Err(Error::invalid(format!("{ONLY} and cannot be negative"))),
        },
        "on-failure" if count < 0 => {
            Err(Error::invalid("invalid restart policy: maximum retry count cannot be negative"))
        }
        "on-failure" => Ok(()),
        other => Err(Error::invalid(format!(
            "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, maximum_retry_count: i64) -> RestartPolicy {
        RestartPolicy { name: name.into(), maximum_retry_count }
    }

    #[test]
    fn who_is_started_again() {
        // code, by hand, last, asked, count
        let end = |code, by_hand, last, asked, count| End { code, by_hand, last, asked, count, ..End::default() };
        let crash = end(1, false, false, false, 0);
        let done = end(0, false, false, false, 0);
        let hup = end(1, true, false, false, 0);
        let stopped = end(143, true, true, false, 0);
        let third = end(1, false, false, false, 2);
        let unhealthy = end(143, false, false, true, 5);
        let unhealthy_and_stopped = end(143, true, true, true, 5);
        for (name, most, rows) in [
            ("", 0, [(crash, false), (done, false), (hup, false), (stopped, false), (third, false)]),
            ("no", 0, [(crash, false), (done, false), (hup, false), (stopped, false), (third, false)]),
            ("always", 0, [(crash, true), (done, true), (hup, true), (stopped, false), (third, true)]),
            ("unless-stopped", 0, [(crash, true), (done, true), (hup, false), (stopped, false), (third, true)]),
            ("on-failure", 0, [(crash, true), (done, false), (hup, true), (stopped, false), (third, true)]),
            ("on-failure", 2, [(crash, true), (done, false), (hup, true), (stopped, false), (third, false)]),
        ] {
            for (end, want) in rows {
                assert_eq!(decide(&policy(name, most), &end).is_some(), want, "{name}:{most} {end:?}");
            }
            assert!(decide(&policy(name, most), &unhealthy).is_some(), "{name}");
            assert!(decide(&policy(name, most), &unhealthy_and_stopped).is_none(), "{name}");
        }
    }

    #[test]
    fn waits_double_up_to_a_minute_and_begin_again_after_a_long_run() {
        let mut waited = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..12 {
            let end = End { ran: Duration::from_millis(9_999), waited, ..End::default() };
            waited = decide(&policy("always", 0), &end).unwrap();
            waits.push(waited.as_millis());
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        let end = End { ran: Duration::from_secs(10), waited, ..End::default() };
        assert_eq!(decide(&policy("always", 0), &end), Some(FIRST));
    }

    #[test]
    fn when_the_daemon_comes_up() {
        for (name, by_hand, want) in [
            ("no", false, false),
            ("always", false, true),
            ("always", true, true),
            ("unless-stopped", false, true),
            ("unless-stopped", true, false),
            ("on-failure", false, false),
        ] {
            assert_eq!(at_start_up(&policy(name, 0), by_hand), want, "{name} {by_hand}");
        }
    }

    #[test]
    fn words_and_numbers() {
        for (name, count, want) in [
            ("", 5, ""),
            ("no", 0, ""),
            ("on-failure", 5, ""),
            ("no", 1, "can only be used with 'on-failure'"),
            ("always", 1, "can only be used with 'on-failure'"),
            ("unless-stopped", -1, "'on-failure' and cannot be negative"),
            ("on-failure", -1, "maximum retry count cannot be negative"),
            ("x", 0, "unknown policy 'x'; use one of"),
        ] {
            match check(&policy(name, count)) {
                Ok(()) => assert_eq!(want, "", "{name}:{count}"),
                Err(e) => assert!(!want.is_empty() && e.text().contains(want), "{name}:{count}: {e}"),
            }
        }
    }
}
