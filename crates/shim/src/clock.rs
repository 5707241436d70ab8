//! The time, as Docker writes it: RFC 3339 in UTC, nanoseconds without trailing zeros.

use rustix::time::{ClockId, clock_gettime};
use std::fmt::Write as _;

const DAY: i64 = 86_400;

/// Now.
pub fn now() -> String {
    let now = clock_gettime(ClockId::Realtime);
    rfc3339(now.tv_sec, now.tv_nsec as u32)
}

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
}

/// A number of seconds since 1970, by the calendar.
pub fn civil(secs: i64) -> Civil {
    let (day, second) = (secs.div_euclid(DAY), secs.rem_euclid(DAY));
    // Days in eras of 400 years, with years that begin in March so that the leap day is the last one.
    let shifted = day + 719_468;
    let (era, in_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let day_of_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil { year, month, day: day_of_month, hour: second / 3600, minute: second / 60 % 60, second: second % 60 }
}

/// A number of seconds (and nanoseconds) since 1970.
pub fn rfc3339(secs: i64, nanos: u32) -> String {
    let Civil { year, month, day, hour, minute, second } = civil(secs);
    let mut out = String::with_capacity(30);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanos > 0 {
        let _ = write!(out, ".{nanos:09}");
        out.truncate(out.trim_end_matches('0').len());
    }
    out.push('Z');
    out
}

/// Reads what [`rfc3339`] writes.
pub fn parse(text: &str) -> Option<(i64, u32)> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|n| n.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(|n| n.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let lawful = (0..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !lawful || fraction.len() > 9 || hour > 24 || minute > 60 || second > 60 {
        return None;
    }
    let nanos = fraction.parse::<u32>().ok()? * 10u32.pow(9 - fraction.len() as u32);
    // The reverse of `civil`: years that begin in March.
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some((days * DAY + hour * 3600 + minute * 60 + second, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (secs, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_399, 999_999_999, "2000-02-28T23:59:59.999999999Z"),
            (951_782_400, 500_000_000, "2000-02-29T00:00:00.5Z"),
            (951_868_800, 1, "2000-03-01T00:00:00.000000001Z"),
            (1_709_164_800, 120, "2024-02-29T00:00:00.00000012Z"),
            (1_798_761_599, 0, "2026-12-31T23:59:59Z"),
            (4_107_542_400, 10, "2100-03-01T00:00:00.00000001Z"),
            (-1, 0, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(secs, nanos), text);
            assert_eq!(parse(text), Some((secs, nanos)));
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in ["", "Z", "2024-01-01", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00.1234567890Z", "a-b-cTd:e:fZ"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
