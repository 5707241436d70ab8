//! Questions to the machine: facts for the plans, device nodes, mounts below a directory.

use crate::config::DeviceMapping;
use crate::plan::devices::{MAX_DEVICES, Node, permissions};
use crate::plan::facts::Facts;
use dhow_cgroup::{Layout, Mode};
use dhow_types::{Context, Error, Result};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Largest file of /proc that is read.
const MAX_PROC: u64 = 1 << 20;

/// Gathers the facts.
pub(crate) fn facts(layout: &Layout) -> Facts {
    let pure_v2 = layout.mode() == Mode::V2;
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Facts {
        controllers: layout.controllers().to_vec(),
        pure_v2,
        no_cgroups: layout.mode() == Mode::None,
        swap_accounting: swap_accounting(layout),
        cpus,
        capabilities: bounding_set(),
        thermal_throttle: (0..cpus)
            .map(|n| format!("/sys/devices/system/cpu/cpu{n}/thermal_throttle"))
            .filter(|p| Path::new(p).exists())
            .collect(),
        kernel: (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)),
        oom_score_adj: read("/proc/self/oom_score_adj").trim().parse().unwrap_or(0),
        hostname: uname.nodename().to_string_lossy().into_owned(),
    }
}

/// A small file as text, empty if it can't be read.
pub(crate) fn read(path: &str) -> String {
    use std::io::Read;
    let mut text = String::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(MAX_PROC).read_to_string(&mut text);
    }
    text
}

fn bounding_set() -> u64 {
    let status = read("/proc/self/status");
    let line = status.lines().find_map(|l| l.strip_prefix("CapBnd:")).unwrap_or("0");
    u64::from_str_radix(line.trim(), 16).unwrap_or(0)
}

/// On v1 the file for swap is absent when the kernel does not count it; v2 counts it unless there is no controller.
fn swap_accounting(layout: &Layout) -> bool {
    let Some(memory) = layout.holder("memory") else { return false };
    let own = memory.mount_point().join(memory.own().trim_start_matches('/'));
    match memory.version() {
        dhow_cgroup::Version::V1 => own.join("memory.memsw.limit_in_bytes").exists(),
        // The root group has no such file, but its children do.
        dhow_cgroup::Version::V2 => memory.own() == "/" || own.join("memory.swap.max").exists(),
    }
}

/// The numbers of a device node.
pub(crate) fn numbers(path: &str) -> Result<(i64, i64)> {
    let meta = std::fs::metadata(path).with_context(|| format!("look at the device {path}"))?;
    Ok(split(meta.rdev()))
}

fn split(dev: u64) -> (i64, i64) {
    (i64::from(rustix::fs::major(dev)), i64::from(rustix::fs::minor(dev)))
}

fn node(path_on_host: &Path, path: &str) -> Result<Node> {
    let gathering =
        || format!("error gathering device information while adding custom device \"{}\"", path_on_host.display());
    let meta = std::fs::metadata(path_on_host).with_context(gathering)?;
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return Err(Error::invalid("not a device node").prefixed(gathering()));
    }
    let (major, minor) = split(meta.rdev());
    Ok(Node {
        path: path.to_owned(),
        block: kind.is_block_device(),
        major,
        minor,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
    })
}

/// The nodes of `--device`; a directory stands for all nodes in it.
pub(crate) fn mapped(devices: &[DeviceMapping]) -> Result<Vec<(Node, String)>> {
    let mut out = Vec::new();
    for d in devices {
        let inside = if d.path_in_container.is_empty() { &d.path_on_host } else { &d.path_in_container };
        let inside = crate::plan::mounts::clean(inside)?;
        let access = permissions(&d.cgroup_permissions)?.to_owned();
        let host = Path::new(&d.path_on_host);
        if host.is_dir() {
            let mut found = Vec::new();
            walk(host, &inside, 0, &mut found)?;
            out.extend(found.into_iter().map(|n| (n, access.clone())));
        } else {
            out.push((node(host, &inside)?, access));
        }
    }
    Ok(out)
}

/// Every device node of the machine, for `--privileged`.
pub(crate) fn all_devices() -> Result<Vec<(Node, String)>> {
    let mut out = Vec::new();
    walk(Path::new("/dev"), "/dev", 0, &mut out)?;
    Ok(out.into_iter().map(|n| (n, "rwm".to_owned())).collect())
}

fn walk(host: &Path, inside: &str, depth: usize, out: &mut Vec<Node>) -> Result<()> {
    const SKIP: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".udev", "console"];
    const MAX_DEPTH: usize = 8;
    let list = std::fs::read_dir(host).with_context(|| format!("list {}", host.display()))?;
    for entry in list.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(kind) = entry.file_type() else { continue };
        let path = format!("{inside}/{name}");
        if depth == 0 && SKIP.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() && depth < MAX_DEPTH {
            walk(&entry.path(), &path, depth + 1, out)?;
        } else if (kind.is_block_device() || kind.is_char_device())
            && let Ok(n) = node(&entry.path(), &path)
        {
            out.push(n);
        }
        if out.len() > MAX_DEVICES {
            return Err(Error::invalid(format!("{} has more than {MAX_DEVICES} device nodes", host.display())));
        }
    }
    Ok(())
}

/// File systems that hold data and are mounted below `path`: an overlay does not show them.
pub(crate) fn mounts_below(path: &Path) -> Vec<String> {
    use std::io::Read;
    const MAX_MOUNTINFO: u64 = 16 << 20;
    let mut text = String::new();
    if let Ok(file) = std::fs::File::open("/proc/self/mountinfo") {
        let _ = file.take(MAX_MOUNTINFO).read_to_string(&mut text);
    }
    below(&text, path)
}

fn below(mountinfo: &str, path: &Path) -> Vec<String> {
    const KERNEL: [&str; 20] = [
        "proc",
        "sysfs",
        "devtmpfs",
        "devpts",
        "mqueue",
        "cgroup",
        "cgroup2",
        "securityfs",
        "debugfs",
        "tracefs",
        "bpf",
        "pstore",
        "configfs",
        "fusectl",
        "hugetlbfs",
        "binfmt_misc",
        "autofs",
        "nsfs",
        "rpc_pipefs",
        "efivarfs",
    ];
    let mut out: Vec<String> = mountinfo
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let point = left.split(' ').nth(4)?;
            let kind = right.split(' ').next()?;
            let real = !KERNEL.contains(&kind) && !["/dev/", "/proc/", "/sys/"].iter().any(|p| point.starts_with(p));
            let inside = Path::new(point) != path && Path::new(point).starts_with(path);
            (real && inside).then(|| point.replace("\\040", " "))
        })
        .collect();
    out.sort();
    out.dedup();
    out
}

/// True for a directory on overlayfs.
pub(crate) fn on_overlay(path: &Path) -> bool {
    const OVERLAYFS: u32 = 0x794c_7630;
    rustix::fs::statfs(path).is_ok_and(|s| s.f_type as u32 == OVERLAYFS)
}

/// True for a directory on tmpfs.
pub(crate) fn on_tmpfs(path: &Path) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    rustix::fs::statfs(path).is_ok_and(|s| s.f_type as u32 == TMPFS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_that_hold_data() {
        let text = "22 1 8:1 / / rw - ext4 /dev/a rw\n23 22 0:5 / /proc rw - proc proc rw\n\
            24 22 8:2 / /home rw - ext4 /dev/b rw\n25 22 0:6 / /dev/shm rw - tmpfs t rw\n\
            26 24 8:3 / /home/my\\040dir rw - xfs /dev/c rw\n27 22 0:7 / /run rw - tmpfs t rw\n";
        assert_eq!(below(text, Path::new("/")), ["/home", "/home/my dir", "/run"]);
        assert_eq!(below(text, Path::new("/home")), ["/home/my dir"]);
        assert!(below(text, Path::new("/hom")).is_empty());
    }

    #[test]
    fn device_nodes() {
        let map = |host: &str, inside: &str| DeviceMapping {
            path_on_host: host.into(),
            path_in_container: inside.into(),
            ..Default::default()
        };
        let got = mapped(&[map("/dev/null", "/dev/x")]).unwrap();
        assert_eq!(
            (got[0].0.major, got[0].0.minor, got[0].0.path.as_str(), got[0].1.as_str()),
            (1, 3, "/dev/x", "rwm")
        );
        assert!(mapped(&[map("/etc/passwd", "")]).unwrap_err().text().ends_with("not a device node"));
        assert!(mapped(&[map("/dev/nope", "")]).is_err());
        let all = all_devices().unwrap();
        assert!(
            all.iter().any(|(n, _)| n.path == "/dev/null") && !all.iter().any(|(n, _)| n.path.starts_with("/dev/pts"))
        );
    }
}
