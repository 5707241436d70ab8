//! Values of log options as Go's libraries read them, with their words: sizes, numbers, truth.

/// A size with a unit: `10m`, `1.5 GB`, `64KiB`. `unit` is 1000 or 1024, which is the difference between the sizes of
/// files and of buffers in Docker.
pub fn size(text: &str, unit: u64) -> Result<u64, String> {
    let bad_size = || format!("invalid size: '{text}'");
    let at = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(bad_size)?;
    // What stands there is one byte long.
    let (number, suffix) =
        if text.as_bytes()[at] == b' ' { (&text[..at], &text[at + 1..]) } else { text.split_at(at + 1) };
    let plain = number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    let value: f64 = number
        .parse()
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if value < 0.0 || value.is_sign_negative() {
        return Err(bad_size());
    }
    let lower = suffix.to_ascii_lowercase();
    let bad_suffix = || format!("invalid suffix: '{suffix}'");
    let mut letters = lower.chars();
    let power = match letters.next() {
        None => 0,
        Some('b') if lower.len() == 1 => 0,
        Some(c) => {
            if !matches!(letters.as_str(), "" | "b" | "ib") {
                return Err(bad_suffix());
            }
            "kmgtp".find(c).ok_or_else(bad_suffix)? as u32 + 1
        }
    };
    let bytes = value * unit.pow(power) as f64;
    // Beyond 2^63 Go's conversion means nothing; no file is so large.
    if bytes < 9.2e18 { Ok(bytes as u64) } else { Err(bad_size()) }
}

/// `strconv.Atoi`.
pub fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
}

/// `strconv.ParseBool`.
pub fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_docker_reads_them() {
        for (text, decimal, binary) in [
            ("10", 10, 10),
            ("10b", 10, 10),
            ("10k", 10_000, 10_240),
            ("10kB", 10_000, 10_240),
            ("10KiB", 10_000, 10_240),
            ("10 m", 10_000_000, 10 << 20),
            ("1.5g", 1_500_000_000, 3 << 29),
            (".5t", 500_000_000_000, 1 << 39),
            ("2P", 2_000_000_000_000_000, 2 << 50),
            ("0", 0, 0),
        ] {
            assert_eq!((size(text, 1000), size(text, 1024)), (Ok(decimal), Ok(binary)), "{text}");
        }
        for (text, why) in [
            ("", "invalid size: ''"),
            ("x", "invalid size: 'x'"),
            ("-5m", "invalid size: '-5m'"),
            ("5x", "invalid suffix: 'x'"),
            ("5bb", "invalid suffix: 'bb'"),
            ("5mm", "invalid suffix: 'mm'"),
            ("5mib2", "strconv.ParseFloat: parsing \"5mib2\": invalid syntax"),
            ("1 5 m", "strconv.ParseFloat: parsing \"1 5\": invalid syntax"),
            ("99999999999999999999g", "invalid size: '99999999999999999999g'"),
            ("5ünd", "invalid suffix: 'ünd'"),
        ] {
            assert_eq!(size(text, 1000), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn numbers_and_truth() {
        assert_eq!((number("3"), number("-1")), (Ok(3), Ok(-1)));
        assert!(number("3.5").unwrap_err().starts_with("strconv.Atoi: parsing \"3.5\""));
        assert_eq!((truth("True"), truth("f")), (Ok(true), Ok(false)));
        assert!(truth("yes").unwrap_err().starts_with("strconv.ParseBool: parsing \"yes\""));
    }
}
