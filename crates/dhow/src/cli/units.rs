//! Sizes, durations and ages in Docker's notation, read and written.

use anyhow::{Result, bail};
use dhow_types::duration::go_nanoseconds;

/// Bytes from `512m`, `1.5g`, `64kb`, `1GiB`, `100`: powers of 1024, as Docker's `-m` reads them, with its words. Rule:
/// `RAMInBytes` of go-units.
pub fn bytes(text: &str) -> Result<i64> {
    let Some(end) = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ') else {
        bail!("invalid size: '{text}'");
    };
    let (number, unit) = (text[..=end].strip_suffix(' ').unwrap_or(&text[..=end]), text[end + 1..].to_lowercase());
    let value: f64 = match number.parse() {
        Ok(value) => value,
        Err(_) => bail!("strconv.ParseFloat: parsing {number:?}: invalid syntax"),
    };
    if value < 0.0 {
        bail!("invalid size: '{text}'");
    }
    let shift = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit != "ib" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ if text.len() - end > 4 => bail!("invalid suffix: '{}'", &text[end + 1..]),
        _ => bail!("invalid suffix: '{unit}'"),
    };
    Ok((value * (1u64 << shift) as f64) as i64)
}

/// Billionths of a CPU from `--cpus 1.5`.
pub fn nano_cpus(text: &str) -> Result<i64> {
    let wrong = || anyhow::anyhow!("failed to parse {text} as a rational number");
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(wrong);
    let (above, below) = text.split_once('/').unwrap_or((text, "1"));
    let (above, below) = (number(above)?, number(below)?);
    if below <= 0.0 || (text.contains('/') && (above.fract() != 0.0 || below.fract() != 0.0)) {
        return Err(wrong());
    }
    let nanos = above * 1e9 / below;
    // What a double can't tell from a whole number is one.
    if (nanos - nanos.round()).abs() > nanos.abs().max(1.0) * 1e-12 {
        bail!("value is too precise");
    }
    Ok(nanos.round() as i64)
}

/// A Go duration (`1h30m`, `500ms`, `10s`), maybe negative, in nanoseconds.
pub fn duration_ns(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(positive) => go_nanoseconds(positive).map(|n| -n),
        None => go_nanoseconds(text),
    }
}

/// A size as lists show it: `4.43MB` (powers of 1000, three significant digits).
pub fn human_size(bytes: i64) -> String {
    scaled(bytes, 3)
}

/// A size as sums show it: `4.426MB` (powers of 1000, four significant digits).
pub fn human_sum(bytes: i64) -> String {
    scaled(bytes, 4)
}

/// Rule: `HumanSizeWithPrecision` of go-units.
fn scaled(bytes: i64, significant: usize) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value.abs() >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let whole = match value.abs() {
        _ if unit == 0 => significant,
        100.0.. => 3,
        10.0.. => 2,
        _ => 1,
    };
    let text = format!("{value:.*}", significant.saturating_sub(whole));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// Seconds of a span of time: `30d`, `2w`, `1d12h`, `90m`. A day has 24 hours.
pub fn seconds(text: &str) -> Result<u64> {
    let read = || {
        let span: jiff::Span = text.parse().ok()?;
        let total = span.total((jiff::Unit::Second, jiff::SpanRelativeTo::days_are_24_hours())).ok()?;
        (total >= 0.0).then_some(total as u64)
    };
    match read() {
        Some(seconds) => Ok(seconds),
        None => bail!("invalid span of time {text:?}: want one as 30d, 2w, 12h, 1d12h or 90m"),
    }
}

/// Seconds since 1970 as Docker prints a time: `2026-11-24 12:00:00 +0000 UTC`, in the zone of this machine.
pub fn local_time(unix: i64) -> String {
    let at = jiff::Timestamp::from_second(unix).map(|t| jiff::ZonedDateTime::new(t, jiff::tz::TimeZone::system()));
    at.map(|at| at.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()).unwrap_or_default()
}

/// How long ago a moment was, in seconds since 1970: `3 minutes ago`.
pub fn ago(unix: i64) -> String {
    format!("{} ago", human_duration(jiff::Timestamp::now().as_second() - unix))
}

/// An age as lists show it: `3 minutes`, `About an hour`.
pub fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds as f64 / 3600.0).round() as i64);
    match () {
        _ if seconds < 1 => "Less than a second".into(),
        _ if seconds == 1 => "1 second".into(),
        _ if seconds < 60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        for (text, want) in
            [("100", 100), ("1k", 1024), ("1.5g", 1_610_612_736), ("64KB", 65536), ("1GiB", 1 << 30), ("2 m", 2 << 20)]
        {
            assert_eq!(bytes(text).unwrap(), want, "{text}");
        }
        for bad in ["", "m", "1x", "1.2.3", "-5m"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_written_in_powers_of_1000() {
        for (value, want) in [
            (0, "0B"),
            (999, "999B"),
            (4_430_000, "4.43MB"),
            (12_300, "12.3kB"),
            (1_000_000, "1MB"),
            (123_456_789, "123MB"),
        ] {
            assert_eq!(human_size(value), want);
        }
    }

    #[test]
    fn sums_have_one_digit_more() {
        for (value, want) in [
            (0, "0B"),
            (999, "999B"),
            (4_430_000, "4.43MB"),
            (4_261_550, "4.262MB"),
            (12_345, "12.35kB"),
            (123_456_789, "123.5MB"),
            (1_000_000_000, "1GB"),
        ] {
            assert_eq!(human_sum(value), want);
        }
    }

    #[test]
    fn spans_of_time() {
        for (text, want) in [
            ("30d", 2_592_000),
            ("2w", 1_209_600),
            ("12h", 43_200),
            ("1d12h", 129_600),
            ("90m", 5_400),
            ("1h30m", 5_400),
            ("10s", 10),
            ("0s", 0),
        ] {
            assert_eq!(seconds(text).unwrap(), want, "{text}");
        }
        for bad in ["", "30", "-1d", "d", "1x", "1mo", "1y", "soon"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ages_read_as_docker_says_them() {
        for (seconds, want) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (86400 * 3, "3 days"),
            (86400 * 21, "3 weeks"),
            (86400 * 365 * 3, "3 years"),
        ] {
            assert_eq!(human_duration(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn go_durations() {
        for (text, want) in [
            ("10s", Some(10_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("5", None),
            ("", None),
            ("5x", None),
        ] {
            assert_eq!(duration_ns(text), want, "{text}");
        }
    }
}
