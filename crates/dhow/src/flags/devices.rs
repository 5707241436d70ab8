//! Devices, throttles and ulimits from the command line.

use crate::cli::units;
use anyhow::{Context, Result, bail};
use dhow_api::{DeviceMapping, ThrottleDevice, Ulimit, WeightDevice};

/// `HOST[:CONTAINER][:rwm]`.
pub fn device(text: &str) -> Result<DeviceMapping> {
    let parts: Vec<&str> = text.split(':').collect();
    let permissions = |p: &str| !p.is_empty() && p.chars().all(|c| "rwm".contains(c));
    let (host, container, rights) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, rights] if permissions(rights) => (host, host, rights),
        [host, container] => (host, container, "rwm"),
        [host, container, rights] if permissions(rights) => (host, container, rights),
        _ => bail!("invalid --device {text:?}: want HOST[:CONTAINER[:rwm]]"),
    };
    if !host.starts_with('/') || !container.starts_with('/') {
        bail!("invalid --device {text:?}: paths must be absolute");
    }
    Ok(DeviceMapping {
        path_on_host: host.into(),
        path_in_container: container.into(),
        cgroup_permissions: rights.into(),
    })
}

/// `DEVICE:BYTES` (bytes with a unit) or `DEVICE:N`.
pub fn throttle(flag: &str, text: &str, bytes: bool) -> Result<ThrottleDevice> {
    let (path, value) = split(flag, text)?;
    let rate = if bytes { units::bytes(value)?.try_into().ok() } else { value.parse().ok() };
    let rate = rate.with_context(|| format!("invalid {flag} {text:?}: the rate must be a whole number"))?;
    Ok(ThrottleDevice { path: path.into(), rate })
}

/// `DEVICE:WEIGHT`.
pub fn weight(text: &str) -> Result<WeightDevice> {
    let (path, value) = split("--blkio-weight-device", text)?;
    let weight = value.parse().ok().filter(|w| (10..=1000).contains(w) || *w == 0);
    let weight = weight.with_context(|| format!("invalid --blkio-weight-device {text:?}: the weight is 10 to 1000"))?;
    Ok(WeightDevice { path: path.into(), weight })
}

fn split<'a>(flag: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    match text.rsplit_once(':') {
        Some((path, value)) if path.starts_with("/dev/") => Ok((path, value)),
        _ => bail!("invalid {flag} {text:?}: want /dev/NAME:VALUE"),
    }
}

/// `NAME=SOFT[:HARD]`.
pub fn ulimit(text: &str) -> Result<Ulimit> {
    const NAMES: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let (name, limits) =
        text.split_once('=').with_context(|| format!("invalid --ulimit {text:?}: want NAME=SOFT[:HARD]"))?;
    if !NAMES.contains(&name) {
        bail!("invalid --ulimit {text:?}: {name} is none of {}", NAMES.join(", "));
    }
    let number = |n: &str| match n {
        "unlimited" => Ok(-1),
        n => n.parse::<i64>().with_context(|| format!("invalid --ulimit {text:?}: {n:?} is no number")),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft > hard || soft == -1) {
        bail!("invalid --ulimit {text:?}: the soft limit is above the hard limit");
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
        assert!(d("kvm").is_err() && d("/dev/a:/dev/b:xyz").is_err());
    }

    #[test]
    fn limits() {
        assert_eq!(throttle("--device-read-bps", "/dev/sda:1m", true).unwrap().rate, 1 << 20);
        assert_eq!(throttle("--device-read-iops", "/dev/sda:7", false).unwrap().rate, 7);
        assert!(throttle("--device-read-bps", "sda:1", true).is_err());
        assert!(weight("/dev/sda:5").is_err() && weight("/dev/sda:500").is_ok());
        let u = ulimit("nofile=10:20").unwrap();
        assert_eq!((u.soft, u.hard), (10, 20));
        assert_eq!(ulimit("core=-1").unwrap().hard, -1);
        for bad in ["nofile", "what=1", "nofile=20:10", "nofile=x"] {
            assert!(ulimit(bad).is_err(), "{bad}");
        }
    }
}
