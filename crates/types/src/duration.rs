//! Durations as Go writes them, which is what Docker takes everywhere: `1h30m`, `1.5s`, `500ms`.

/// Nanoseconds of a Go duration: numbers with units (`ns us µs ms s m h`), one behind the other, and no sign. `None` if
/// it is none, or longer than 2^63 ns (292 years). A bare `0`, which Go takes, is left to the caller: where Docker also
/// takes times it means 1970. Rule: `time.ParseDuration` of Go.
pub fn go_nanoseconds(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let nanos = match &rest[..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * nanos;
        rest = &rest[unit..];
    }
    (!text.is_empty() && total < i64::MAX as f64).then_some(total as i64)
}

/// A duration as Go writes it: `1m30s`, `1.5s`, `250ms`, `0s`. Rule: `time.Duration.String` of Go.
pub fn go_text(duration: std::time::Duration) -> String {
    let nanos = duration.as_nanos();
    // A number with what is left of it behind a point, without zeros at the end.
    let decimal = |unit: u128, digits: usize| {
        let text = format!("{}.{:0digits$}", nanos / unit, nanos % unit);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(1_000, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(1_000_000, 6)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = format!("{}.{:09}", rest / 1_000_000_000, rest % 1_000_000_000);
            let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_them() {
        for (nanos, want) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (1_000_000, "1ms"),
            (2_200_000, "2.2ms"),
            (999_999_999, "999.999999ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (60_000_000_000, "1m0s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (90_061_000_000_001, "25h1m1.000000001s"),
        ] {
            assert_eq!(go_text(std::time::Duration::from_nanos(nanos)), want, "{nanos}");
        }
    }

    #[test]
    fn as_go_reads_them() {
        for (text, want) in [
            ("0s", Some(0)),
            ("0", None),
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1000us", Some(1_000_000)),
            ("7µs", Some(7_000)),
            ("3ns", Some(3)),
            ("", None),
            ("1", None),
            ("s", None),
            ("1.2.3s", None),
            ("1x", None),
            ("-1s", None),
            (" 1s", None),
            ("inf", None),
            ("300000000h", None),
        ] {
            assert_eq!(go_nanoseconds(text), want, "{text:?}");
        }
    }
}
