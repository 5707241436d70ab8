//! Whether to try again, and when: pure, so that the table can be read.

use crate::bounds::Bounds;
use crate::failure::Cause;
use http::HeaderMap;
use http::header::RETRY_AFTER;
use std::time::Duration;

/// How long to wait before the next try, or that there is none. `failures` counts those in a row, this one included.
pub(crate) fn wait(cause: &Cause, failures: u32, bounds: &Bounds) -> Option<Duration> {
    if failures >= bounds.attempts {
        return None;
    }
    let asked = match cause {
        Cause::Broken(_) | Cause::Stalled(_) | Cause::Unreachable(_) => None,
        Cause::Refused { status: 408 | 425 | 429 | 500 | 502 | 503 | 504, retry_after, .. } => *retry_after,
        _ => return None,
    };
    match asked {
        Some(asked) => (asked <= bounds.longest_retry_after).then_some(asked),
        None => {
            let doubled = bounds.first_wait.saturating_mul(1 << (failures.clamp(1, 16) - 1));
            Some(doubled.min(bounds.longest_wait))
        }
    }
}

/// `Retry-After`: seconds, or a date as of `now` (Unix seconds).
pub(crate) fn asked(headers: &HeaderMap, now: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::from_secs(u64::try_from(date.as_second() - now).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_try_again() {
        let bounds = Bounds { first_wait: Duration::from_millis(250), ..Bounds::default() };
        let refused = |status, after: Option<u64>| Cause::Refused {
            status,
            code: String::new(),
            words: String::new(),
            retry_after: after.map(Duration::from_secs),
        };
        let ms = |n| Some(Duration::from_millis(n));
        for (cause, failures, expected) in [
            (Cause::Broken(String::new()), 1, ms(250)),
            (Cause::Broken(String::new()), 4, ms(2000)),
            (Cause::Broken(String::new()), 5, None),
            (Cause::Stalled(Duration::ZERO), 2, ms(500)),
            (Cause::Unreachable(String::new()), 1, ms(250)),
            (refused(503, None), 1, ms(250)),
            (refused(429, None), 3, ms(1000)),
            (refused(429, Some(7)), 1, ms(7000)),
            (refused(429, Some(61)), 1, None),
            (refused(404, None), 1, None),
            (refused(401, Some(1)), 1, None),
            (refused(501, None), 1, None),
            (Cause::NotTls, 1, None),
            (Cause::Certificate(String::new()), 1, None),
            (Cause::WrongSize { wanted: 1, got: 2 }, 1, None),
        ] {
            assert_eq!(wait(&cause, failures, &bounds), expected, "{cause:?} {failures}");
        }
        let patient = Bounds { attempts: 99, ..bounds };
        assert_eq!(wait(&Cause::Broken(String::new()), 60, &patient), ms(8000));
    }

    #[test]
    fn retry_after() {
        let of = |text: &str| asked(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), 1_600_000_000);
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of("Sun, 13 Sep 2020 12:26:50 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(of("Sun, 13 Sep 2020 12:26:00 GMT"), Some(Duration::ZERO));
        assert_eq!(of("soon"), None);
        assert_eq!(asked(&HeaderMap::new(), 0), None);
    }
}
