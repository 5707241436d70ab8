//! `spec`: a `config.json` to begin with.

use super::args::{Flag, Line};
use crate::context::Context;
use crate::spec::{
    Capabilities, IdMapping, Linux, Mount, Namespace, NamespaceKind, OCI_VERSION, Process, Resources, Rlimit, Root,
    Spec,
};
use dhow_cgroup::resources::DeviceRule;
use dhow_types::{Error, Result};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// `spec`.
pub(crate) fn write(words: Vec<OsString>) -> Result<i32> {
    let line = Line::all(&[Flag::value("bundle", "b"), Flag::switch("rootless", "")], words)?;
    if let Some(extra) = line.rest.first() {
        return Err(Error::invalid(format!("unexpected argument {:?}", extra.to_string_lossy())));
    }
    let path = line.path("bundle").unwrap_or(Path::new(".")).join("config.json");
    let text =
        serde_json::to_string_pretty(&example(line.has("rootless"))).map_err(|e| Error::system(e.to_string()))?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => Error::conflict(format!("{} exists already", path.display())),
        _ => Error::from(e).prefixed(path.display()),
    })?;
    file.write_all(text.as_bytes()).with_context(|| path.display().to_string())?;
    Ok(0)
}

/// A shell in a root file system called `rootfs`.
pub(crate) fn example(rootless: bool) -> Spec {
    let caps: Vec<String> = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"].map(String::from).to_vec();
    let mut kinds =
        vec![NamespaceKind::Pid, NamespaceKind::Ipc, NamespaceKind::Uts, NamespaceKind::Mount, NamespaceKind::Cgroup];
    let mapping = |host_id: u32| vec![IdMapping { container_id: 0, host_id, size: 1 }];
    let (uid_mappings, gid_mappings) = if rootless {
        kinds.push(NamespaceKind::User);
        (mapping(rustix::process::getuid().as_raw()), mapping(rustix::process::getgid().as_raw()))
    } else {
        kinds.push(NamespaceKind::Network);
        Default::default()
    };
    let hard = ["nosuid", "noexec", "nodev"];
    let mut devpts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    let sys = if rootless {
        Mount::new("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"])
    } else {
        devpts.push("gid=5");
        Mount::new("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
    };
    let mut mounts = vec![
        Mount::new("/proc", "proc", "proc", &hard),
        Mount::new("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        Mount::new("/dev/pts", "devpts", "devpts", &devpts),
        Mount::new("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        Mount::new("/dev/mqueue", "mqueue", "mqueue", &hard),
        sys,
    ];
    if !rootless {
        mounts.push(Mount::new("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
    }
    let paths = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect();
    Spec {
        oci_version: OCI_VERSION.into(),
        process: Some(Process {
            terminal: true,
            args: vec!["sh".into()],
            env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(), "TERM=xterm".into()],
            cwd: "/".into(),
            capabilities: Some(Capabilities {
                bounding: caps.clone(),
                effective: caps.clone(),
                permitted: caps,
                ..Capabilities::default()
            }),
            rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE".into(), hard: 1024, soft: 1024 }],
            no_new_privileges: true,
            ..Process::default()
        }),
        root: Some(Root { path: "rootfs".into(), readonly: true }),
        hostname: Some("dhow".into()),
        mounts,
        linux: Some(Linux {
            namespaces: kinds.into_iter().map(|kind| Namespace { kind, path: None }).collect(),
            uid_mappings,
            gid_mappings,
            resources: (!rootless).then(|| Resources {
                devices: vec![DeviceRule { allow: false, access: Some("rwm".into()), ..DeviceRule::default() }],
                ..Resources::default()
            }),
            masked_paths: paths(&[
                "/proc/acpi",
                "/proc/asound",
                "/proc/interrupts",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/sched_debug",
                "/proc/scsi",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/sys/devices/virtual/powercap",
                "/sys/firmware",
            ]),
            readonly_paths: paths(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn the_example_is_a_document_we_accept() {
        for rootless in [false, true] {
            Plan::new(&example(rootless), Path::new("/bundle"), &[]).unwrap();
        }
    }
}
