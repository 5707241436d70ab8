//! Values of flags that are refused while the words are read, in the words of Docker's client. What passes here is taken
//! apart later; whether it makes sense is for the daemon to say.

use crate::cli::units;

type Checked = Result<String, String>;

fn checked(text: &str, holds: bool, said: impl FnOnce() -> String) -> Checked {
    if holds { Ok(text.to_owned()) } else { Err(said()) }
}

/// Bytes: `512m`.
pub fn size(text: &str) -> Checked {
    checked(text, units::bytes(text).is_ok(), || format!("invalid size: '{text}'"))
}

/// `NAME[=VALUE]`
pub fn label(text: &str) -> Checked {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    checked(text, !name.trim().is_empty(), || format!("invalid label '{text}': empty name"))
}

/// `NAME=VALUE` of a setting of the kernel.
pub fn sysctl(text: &str) -> Checked {
    checked(text, text.contains('='), || format!("sysctl '{text}' is not allowed"))
}

/// `NAME=SOFT[:HARD]`
pub fn ulimit(text: &str) -> Checked {
    checked(text, text.contains('='), || format!("invalid ulimit argument: {text}"))
}

/// A number of CPUs.
pub fn cpus(text: &str) -> Checked {
    checked(text, text.parse::<f64>().is_ok(), || format!("failed to parse {text} as a rational number"))
}

/// An address.
pub fn address(text: &str) -> Checked {
    let parsed = text.trim().parse::<std::net::IpAddr>();
    checked(text, parsed.is_ok(), || format!("IP address is not correctly formatted: {text}"))
}

/// `/dev/NAME:VALUE`
pub fn device_value(text: &str) -> Checked {
    checked(text, text.contains(':'), || format!("bad format: {text}"))
}

/// A stream.
pub fn stream(text: &str) -> Checked {
    let known = ["stdin", "stdout", "stderr"].iter().any(|s| text.eq_ignore_ascii_case(s));
    checked(text, known, || "valid streams are STDIN, STDOUT and STDERR".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_refused_in_dockers_words() {
        for (check, good, bad, words) in [
            (size as fn(&str) -> Checked, "512m", "x", "invalid size: 'x'"),
            (label, "a=b", "", "invalid label '': empty name"),
            (label, "a", "=b", "invalid label '=b': empty name"),
            (sysctl, "net.x=1", "x", "sysctl 'x' is not allowed"),
            (ulimit, "nofile=1:2", "x", "invalid ulimit argument: x"),
            (cpus, "1.5", "x", "failed to parse x as a rational number"),
            (address, "::1", "foo", "IP address is not correctly formatted: foo"),
            (device_value, "/dev/a:1", "x", "bad format: x"),
            (stream, "StdErr", "foo", "valid streams are STDIN, STDOUT and STDERR"),
        ] {
            assert_eq!(check(good).as_deref(), Ok(good));
            assert_eq!(check(bad), Err(words.to_owned()));
        }
    }
}
