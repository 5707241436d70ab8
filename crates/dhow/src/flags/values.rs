//! Values of flags that are refused while the words are read, in the words of Docker's client. What passes here is taken
//! apart later; whether it makes sense is for the daemon to say.

use super::devices;
use crate::cli::units;

type Checked = Result<String, String>;

fn checked(text: &str, holds: bool, said: impl FnOnce() -> String) -> Checked {
    if holds { Ok(text.to_owned()) } else { Err(said()) }
}

/// What a reader refuses is refused in its words.
fn read_by<T>(text: &str, read: impl FnOnce(&str) -> anyhow::Result<T>) -> Checked {
    read(text).map(|_| text.to_owned()).map_err(|said| format!("{said:#}"))
}

/// Bytes: `512m`.
pub fn size(text: &str) -> Checked {
    read_by(text, units::bytes)
}

/// The same, or `-1` for no limit.
pub fn size_or_all(text: &str) -> Checked {
    if text == "-1" { Ok(text.to_owned()) } else { size(text) }
}

/// `NAME[=VALUE]`
pub fn label(text: &str) -> Checked {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    checked(text, !name.trim().is_empty(), || format!("invalid label '{text}': empty name"))
}

/// `NAME[=VALUE]` of a variable.
pub fn variable(text: &str) -> Checked {
    checked(text, !text.is_empty() && !text.starts_with('='), || format!("invalid environment variable: {text}"))
}

/// `NAME=VALUE` of a setting of the kernel: one that a namespace of the container has.
pub fn sysctl(text: &str) -> Checked {
    const NAMES: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    let of_namespace = |name: &str| {
        ["net.", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix))
            || name.strip_prefix("kernel.").is_some_and(|name| NAMES.contains(&name))
    };
    let holds = text.split_once('=').is_some_and(|(name, _)| of_namespace(name));
    checked(text, holds, || format!("sysctl '{text}' is not allowed"))
}

/// `NAME=SOFT[:HARD]`
pub fn ulimit(text: &str) -> Checked {
    read_by(text, devices::ulimit)
}

/// A number of CPUs.
pub fn cpus(text: &str) -> Checked {
    read_by(text, units::nano_cpus)
}

/// An address.
pub fn address(text: &str) -> Checked {
    let parsed = text.trim().parse::<std::net::IpAddr>();
    checked(text, parsed.is_ok(), || format!("IP address is not correctly formatted: {text}"))
}

/// A domain, or `.` for none.
pub fn domain(text: &str) -> Checked {
    let bare = text.trim_matches(' ');
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let ends = [label.as_bytes().first(), label.as_bytes().last()];
        ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric)) && label.bytes().all(inner)
    };
    let labels = bare.strip_suffix('.').unwrap_or(bare);
    let named = bare.bytes().any(|b| b.is_ascii_alphabetic()) && labels.split('.').all(label) && labels.len() < 255;
    checked(text, bare == "." || named, || format!("{bare} is not a valid domain"))
}

/// `HOST:IP`
pub fn host_line(text: &str) -> Checked {
    read_by(text, super::request::add_host)
}

/// `/dev/NAME:BYTES`
pub fn device_bytes(text: &str) -> Checked {
    read_by(text, |text| devices::throttle(text, true))
}

/// `/dev/NAME:N`
pub fn device_rate(text: &str) -> Checked {
    read_by(text, |text| devices::throttle(text, false))
}

/// `/dev/NAME:WEIGHT`
pub fn device_weight(text: &str) -> Checked {
    read_by(text, devices::weight)
}

/// `TYPE MAJOR:MINOR RIGHTS`
pub fn device_rule(text: &str) -> Checked {
    let number = |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let rights = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b"rwm".contains(&b));
    let holds = match text.split(' ').collect::<Vec<_>>()[..] {
        ["a" | "b" | "c", numbers, allowed] => {
            numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor)) && rights(allowed)
        }
        _ => false,
    };
    checked(text, holds, || format!("invalid device cgroup format '{text}'"))
}

/// A file system to mount.
pub fn mount(text: &str) -> Checked {
    read_by(text, |text| super::volumes::mount(text, std::path::Path::new("/"), None))
}

/// A network, in one of its two forms.
pub fn network(text: &str) -> Checked {
    read_by(text, super::network::attachment)
}

/// A span of time as Go writes it.
pub fn duration(text: &str) -> Checked {
    read_by(text, super::health::duration)
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
            (size, "1 k", "1x", "invalid suffix: 'x'"),
            (size, "0.5GiB", "1kbb", "invalid suffix: 'kbb'"),
            (size, "8b", "-1", "invalid size: '-1'"),
            (size_or_all, "-1", "-2", "invalid size: '-2'"),
            (variable, "A", "=x", "invalid environment variable: =x"),
            (sysctl, "net.x=1", "x", "sysctl 'x' is not allowed"),
            (sysctl, "kernel.sem=1", "kernel.nope=1", "sysctl 'kernel.nope=1' is not allowed"),
            (ulimit, "core=-1", "nope=1", "invalid ulimit type: nope"),
            (ulimit, "core=0", "core=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
            (ulimit, "core=1:1", "core=5:1", "ulimit soft limit must be less than or equal to hard limit: 5 > 1"),
            (
                ulimit,
                "core=1:-1",
                "core=-1:1",
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 1",
            ),
            (
                ulimit,
                "core=1",
                "core=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
            (cpus, "1/2", "1.0000000001", "value is too precise"),
            (cpus, "-1", "1/0", "failed to parse 1/0 as a rational number"),
            (domain, ".", "!", "! is not a valid domain"),
            (domain, "a-b.example.", "-a", "-a is not a valid domain"),
            (domain, "a", "1.2", "1.2 is not a valid domain"),
            (host_line, "a=[::1]", "a:b", "invalid IP address in add-host: \"b\""),
            (host_line, "a:host-gateway", "a", "bad format for add-host: \"a\""),
            (device_bytes, "/dev/a:1m", "a:1m", "bad format for device path: a:1m"),
            (device_weight, "/dev/a:0", "/dev/a:5", "invalid weight for device: /dev/a:5"),
            (device_rule, "c 1:* rwm", "c 1:1 z", "invalid device cgroup format 'c 1:1 z'"),
            (mount, "type=bind,src=/a,dst=/b", "x", "invalid field 'x' must be a key=value pair"),
            (network, "name=a", "name=a,x=1", "invalid field key x"),
            (duration, "-1s", "5", "time: missing unit in duration \"5\""),
            (ulimit, "nofile=1:2", "x", "invalid ulimit argument: x"),
            (cpus, "1.5", "x", "failed to parse x as a rational number"),
            (address, "::1", "foo", "IP address is not correctly formatted: foo"),
            (device_rate, "/dev/a:1", "x", "bad format: x"),
            (stream, "StdErr", "foo", "valid streams are STDIN, STDOUT and STDERR"),
        ] {
            assert_eq!(check(good).as_deref(), Ok(good));
            assert_eq!(check(bad), Err(words.to_owned()));
        }
    }
}
