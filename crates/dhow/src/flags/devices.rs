//! Devices, throttles and ulimits from the command line.

use crate::cli::units;
use anyhow::{Context, Result, anyhow, bail};
use dhow_api::{DeviceMapping, ThrottleDevice, Ulimit, WeightDevice};
use std::num::IntErrorKind;

/// `HOST[:CONTAINER][:rwm]`. What is wrong is said in Docker's words, here and below.
pub fn device(text: &str) -> Result<DeviceMapping> {
    let parts: Vec<&str> = text.split(':').collect();
    // Each right once.
    let permissions = |p: &str| {
        !p.is_empty() && p.chars().all(|c| "rwm".contains(c)) && "rwm".chars().all(|c| p.matches(c).count() <= 1)
    };
    let (host, container, rights) = match parts[..] {
        ["", ..] | [_, _, _, _, ..] => bail!("bad format for path: {text}"),
        [host] => (host, host, "rwm"),
        [host, rights] if permissions(rights) => (host, host, rights),
        [host, container] => (host, container, "rwm"),
        [_, _, rights] if !permissions(rights) => bail!("bad mode specified: {rights}"),
        [host, container, rights] => (host, container, rights),
        [] => bail!("bad format for path: {text}"),
    };
    if !container.starts_with('/') {
        bail!("{container} is not an absolute path");
    }
    Ok(DeviceMapping {
        path_on_host: host.into(),
        path_in_container: container.into(),
        cgroup_permissions: rights.into(),
    })
}

/// `DEVICE:BYTES` (bytes with a unit) or `DEVICE:N`.
pub fn throttle(text: &str, bytes: bool) -> Result<ThrottleDevice> {
    let (path, value) = split(text)?;
    let rate = if bytes { units::bytes(value).ok().and_then(|n| n.try_into().ok()) } else { value.parse().ok() };
    let Some(rate) = rate else {
        let (unit, more) = match bytes {
            true => ("[<unit>]", ". Unit is optional and can be kb, mb, or gb"),
            false => ("", ""),
        };
        bail!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>{unit}. Number must be a positive \
             integer{more}"
        );
    };
    Ok(ThrottleDevice { path: path.into(), rate })
}

/// `DEVICE:WEIGHT`.
pub fn weight(text: &str) -> Result<WeightDevice> {
    let (path, value) = split(text)?;
    let weight = value.parse().ok().filter(|w| (10..=1000).contains(w) || *w == 0);
    let weight = weight.with_context(|| format!("invalid weight for device: {text}"))?;
    Ok(WeightDevice { path: path.into(), weight })
}

fn split(text: &str) -> Result<(&str, &str)> {
    match text.split_once(':') {
        None | Some(("", _)) => bail!("bad format: {text}"),
        Some((path, _)) if !path.starts_with("/dev/") => bail!("bad format for device path: {text}"),
        Some(halves) => Ok(halves),
    }
}

/// `NAME=SOFT[:HARD]`; `unlimited` is -1.
pub fn ulimit(text: &str) -> Result<Ulimit> {
    const NAMES: &str =
        "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack";
    let (name, limits) = text.split_once('=').with_context(|| format!("invalid ulimit argument: {text}"))?;
    if !NAMES.split(' ').any(|known| known == name) {
        bail!("invalid ulimit type: {name}");
    }
    let number = |n: &str| match n {
        "unlimited" => Ok(-1),
        n => n.parse::<i64>().map_err(|e| match e.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => {
                anyhow!("strconv.ParseInt: parsing {n:?}: value out of range")
            }
            _ => anyhow!("strconv.ParseInt: parsing {n:?}: invalid syntax"),
        }),
    };
    let (soft, hard) = match limits.split(':').collect::<Vec<_>>()[..] {
        [both] => (number(both)?, number(both)?),
        [soft, hard] => {
            let hard = number(hard)?;
            (number(soft)?, hard)
        }
        _ => bail!("too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"),
    };
    const RULE: &str = "ulimit soft limit must be less than or equal to hard limit";
    if hard != -1 && soft == -1 {
        bail!("{RULE}: soft: -1 (unlimited), hard: {hard}");
    }
    if hard != -1 && soft > hard {
        bail!("{RULE}: {soft} > {hard}");
    }
    Ok(Ulimit { name: name.into(), hard, soft })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        let d =
            |t: &str| device(t).map(|d| format!("{} {} {}", d.path_on_host, d.path_in_container, d.cgroup_permissions));
        assert_eq!(d("/dev/kvm").unwrap(), "/dev/kvm /dev/kvm rwm");
        assert_eq!(d("/dev/kvm:r").unwrap(), "/dev/kvm /dev/kvm r");
        assert_eq!(d("/dev/a:/dev/b").unwrap(), "/dev/a /dev/b rwm");
        assert_eq!(d("/dev/a:/dev/b:rw").unwrap(), "/dev/a /dev/b rw");
        for (bad, want) in [
            ("kvm", "kvm is not an absolute path"),
            ("/dev/a:b", "b is not an absolute path"),
            ("/dev/a:/dev/b:xyz", "bad mode specified: xyz"),
            ("/dev/a:/dev/b:rr", "bad mode specified: rr"),
            ("", "bad format for path: "),
            ("/a:/b:r:w", "bad format for path: /a:/b:r:w"),
        ] {
            assert_eq!(d(bad).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn limits() {
        assert_eq!(throttle("/dev/sda:1m", true).unwrap().rate, 1 << 20);
        assert_eq!(throttle("/dev/sda:7", false).unwrap().rate, 7);
        assert!(throttle("sda:1", true).is_err());
        assert!(weight("/dev/sda:5").is_err() && weight("/dev/sda:500").is_ok());
        let u = ulimit("nofile=10:20").unwrap();
        assert_eq!((u.soft, u.hard), (10, 20));
        assert_eq!(ulimit("core=-1").unwrap().hard, -1);
        for bad in ["nofile", "what=1", "nofile=20:10", "nofile=x"] {
            assert!(ulimit(bad).is_err(), "{bad}");
        }
    }
}
