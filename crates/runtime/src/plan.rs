//! From a document to what will be done: everything that can be decided without touching the system is decided
//! here, before any process exists, so that a bad document costs nothing and the child only executes.

pub(crate) mod caps;
pub(crate) mod mounts;
pub(crate) mod options;
pub(crate) mod process;
pub(crate) mod sysctl;

use crate::hooks;
use crate::spec::{Device, IdMapping, Linux, NamespaceKind, Personality, Spec};
use dhow_sys::clone as ns;
use dhow_sys::mount as m;
use dhow_types::{Error, Result};
use std::path::{Path, PathBuf};

pub(crate) use mounts::{MountPlan, Source};
pub(crate) use process::ProcessPlan;

/// Bounds on lists of a document: far above what anybody uses, low enough that nothing grows without end.
const MAX_MOUNTS: usize = 4096;
const MAX_DEVICES: usize = 4096;
const MAX_PATHS: usize = 4096;
/// The kernel's limit on extents of an id map.
const MAX_ID_MAPPINGS: usize = 340;

/// A namespace of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ns {
    New,
    Join(PathBuf),
    /// A descriptor that the caller gave.
    Given,
}

/// Which namespaces the container does not share with the runtime.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespaces(Vec<(NamespaceKind, Ns)>);

impl Namespaces {
    pub(crate) fn get(&self, kind: NamespaceKind) -> Option<&Ns> {
        self.0.iter().find(|(k, _)| *k == kind).map(|(_, ns)| ns)
    }
    pub(crate) fn has(&self, kind: NamespaceKind) -> bool {
        self.get(kind).is_some()
    }
    pub(crate) fn is_new(&self, kind: NamespaceKind) -> bool {
        self.get(kind) == Some(&Ns::New)
    }
    pub(crate) fn joined(&self) -> impl Iterator<Item = (NamespaceKind, &Ns)> {
        self.0.iter().filter(|(_, ns)| *ns != Ns::New).map(|(k, ns)| (*k, ns))
    }
    /// The flags for clone3: all new ones but cgroup (its root must be the container's group, so the child unshares
    /// it once it is there) and time (its offsets must be written before a process is in it).
    pub(crate) fn clone_flags(&self) -> u64 {
        self.0
            .iter()
            .filter(|(k, ns)| *ns == Ns::New && !matches!(k, NamespaceKind::Cgroup | NamespaceKind::Time))
            .fold(0, |flags, (k, _)| flags | flag(*k))
    }
    /// The flags of all, for joining them through a pidfd.
    pub(crate) fn all_flags(&self) -> u64 {
        self.0.iter().fold(0, |flags, (k, _)| flags | flag(*k))
    }
}

/// The kernel's flag of a kind.
pub(crate) fn flag(kind: NamespaceKind) -> u64 {
    match kind {
        NamespaceKind::Pid => ns::NEWPID,
        NamespaceKind::Network => ns::NEWNET,
        NamespaceKind::Mount => ns::NEWNS,
        NamespaceKind::Ipc => ns::NEWIPC,
        NamespaceKind::Uts => ns::NEWUTS,
        NamespaceKind::User => ns::NEWUSER,
        NamespaceKind::Cgroup => ns::NEWCGROUP,
        NamespaceKind::Time => ns::NEWTIME,
    }
}

/// All that is decided about a container.
#[derive(Debug)]
pub(crate) struct Plan {
    pub namespaces: Namespaces,
    /// Propagation given to the whole tree of the new mount namespace first; 0 leaves it.
    pub base_propagation: u64,
    /// Propagation given to the container's root last.
    pub root_propagation: Option<(u64, bool)>,
    pub root_readonly: bool,
    pub mounts: Vec<MountPlan>,
    /// Make `/dev`'s nodes and links (not when the host's `/dev` is bound there).
    pub make_dev: bool,
    pub sysctl: Vec<(String, String)>,
    /// `monotonic 1 2`, one line per clock.
    pub time_offsets: String,
    pub uid_map: String,
    pub gid_map: String,
    pub process: ProcessPlan,
    pub warnings: Vec<String>,
}

impl Plan {
    /// Decides. `given` are the namespaces whose descriptors the caller has.
    pub(crate) fn new(spec: &Spec, bundle: &Path, given: &[NamespaceKind]) -> Result<Self> {
        let mut warnings = Vec::new();
        let empty = Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&empty);
        refuse_unbuilt(linux)?;
        let namespaces = namespaces(linux, given)?;
        if spec.hostname.is_some() && !namespaces.has(NamespaceKind::Uts) {
            return Err(Error::invalid("hostname is set, but the container shares the host's uts namespace"));
        }
        if spec.domainname.is_some() && !namespaces.has(NamespaceKind::Uts) {
            return Err(Error::invalid("domainname is set, but the container shares the host's uts namespace"));
        }
        let process = spec.process.as_ref().ok_or_else(|| Error::invalid("the document has no process"))?;
        let process = ProcessPlan::new(process, linux.personality.as_ref().map(persona).transpose()?, &mut warnings)?;
        let (base_propagation, root_propagation) = propagation(linux.rootfs_propagation.as_deref())?;
        bound("mounts", spec.mounts.len(), MAX_MOUNTS)?;
        bound("linux.devices", linux.devices.len(), MAX_DEVICES)?;
        bound("linux.maskedPaths", linux.masked_paths.len(), MAX_PATHS)?;
        bound("linux.readonlyPaths", linux.readonly_paths.len(), MAX_PATHS)?;
        let mounts =
            spec.mounts.iter().map(|mount| MountPlan::new(mount, bundle, linux)).collect::<Result<Vec<_>>>()?;
        let make_dev = !mounts
            .iter()
            .any(|mount| mount.destination == Path::new("/dev") && matches!(mount.source, Source::Bind { .. }));
        let (uid_map, gid_map) = if namespaces.is_new(NamespaceKind::User) {
            (id_map("uid", &linux.uid_mappings)?, id_map("gid", &linux.gid_mappings)?)
        } else {
            if !linux.uid_mappings.is_empty() && !namespaces.has(NamespaceKind::User) {
                return Err(Error::invalid("linux.uidMappings are set without a user namespace"));
            }
            Default::default()
        };
        let own = sysctl::Own {
            ipc: namespaces.has(NamespaceKind::Ipc),
            net: namespaces.has(NamespaceKind::Network),
            uts: namespaces.has(NamespaceKind::Uts),
            user: namespaces.has(NamespaceKind::User),
        };
        for device in &linux.devices {
            check_device(device)?;
        }
        if let Some(h) = &spec.hooks {
            for (kind, list) in [
                ("prestart", &h.prestart),
                ("createRuntime", &h.create_runtime),
                ("createContainer", &h.create_container),
                ("startContainer", &h.start_container),
                ("poststart", &h.poststart),
                ("poststop", &h.poststop),
            ] {
                hooks::check(kind, list)?;
            }
        }
        Ok(Self {
            base_propagation,
            root_propagation,
            root_readonly: spec.root.as_ref().is_some_and(|r| r.readonly),
            mounts,
            make_dev,
            sysctl: sysctl::plan(linux.sysctl.iter(), own, spec.hostname.is_some())?,
            time_offsets: time_offsets(linux, &namespaces)?,
            uid_map,
            gid_map,
            process,
            warnings,
            namespaces,
        })
    }
}

/// Fields that this runtime does not act on are refused by name rather than ignored.
fn refuse_unbuilt(linux: &Linux) -> Result<()> {
    let unbuilt = [
        ("linux.netDevices", !linux.net_devices.is_empty()),
        ("linux.intelRdt", linux.intel_rdt.is_some()),
        ("linux.memoryPolicy", linux.memory_policy.is_some()),
        ("linux.mountLabel (SELinux)", linux.mount_label.as_deref().is_some_and(|l| !l.is_empty())),
    ];
    match unbuilt.iter().find(|(_, set)| *set) {
        Some((name, _)) => Err(Error::not_implemented(format!("{name} is not supported by this runtime"))),
        None => Ok(()),
    }
}

pub(crate) fn namespaces(linux: &Linux, given: &[NamespaceKind]) -> Result<Namespaces> {
    let mut list: Vec<(NamespaceKind, Ns)> = Vec::new();
    for namespace in &linux.namespaces {
        if list.iter().any(|(k, _)| *k == namespace.kind) {
            return Err(Error::invalid(format!("linux.namespaces names {:?} twice", namespace.kind)));
        }
        let ns = match namespace.path.as_deref() {
            _ if given.contains(&namespace.kind) => Ns::Given,
            None | Some("") => Ns::New,
            Some(path) if path.starts_with('/') => Ns::Join(path.into()),
            Some(path) => return Err(Error::invalid(format!("linux.namespaces: {path:?} is not an absolute path"))),
        };
        list.push((namespace.kind, ns));
    }
    for kind in given {
        if !list.iter().any(|(k, _)| k == kind) {
            list.push((*kind, Ns::Given));
        }
    }
    let all = Namespaces(list);
    match all.get(NamespaceKind::Mount) {
        None => {
            return Err(Error::not_implemented("a container without a mount namespace of its own is not supported"));
        }
        Some(Ns::New) => {}
        Some(_) if all.is_new(NamespaceKind::User) => {
            return Err(Error::not_implemented("a new user namespace with a joined mount namespace is not supported"));
        }
        Some(_) => {}
    }
    Ok(all)
}

fn propagation(text: Option<&str>) -> Result<(u64, Option<(u64, bool)>)> {
    Ok(match text.unwrap_or("") {
        // The host's mounts may come in (an automounted volume), nothing goes out.
        "" => (m::SLAVE, None),
        "private" => (m::PRIVATE, Some((m::PRIVATE, false))),
        "rprivate" => (m::PRIVATE, Some((m::PRIVATE, true))),
        "slave" => (m::SLAVE, Some((m::SLAVE, false))),
        "rslave" => (m::SLAVE, Some((m::SLAVE, true))),
        "unbindable" => (m::PRIVATE, Some((m::UNBINDABLE, false))),
        "runbindable" => (m::PRIVATE, Some((m::UNBINDABLE, true))),
        "shared" => (0, Some((m::SHARED, false))),
        "rshared" => (0, Some((m::SHARED, true))),
        other => return Err(Error::invalid(format!("linux.rootfsPropagation {other:?} is unknown"))),
    })
}

fn persona(p: &Personality) -> Result<u32> {
    if let Some(flag) = p.flags.first() {
        return Err(Error::invalid(format!("linux.personality.flags: {flag:?} is unknown (none are defined)")));
    }
    match p.domain.as_str() {
        "LINUX" => Ok(0),
        "LINUX32" => Ok(8),
        other => Err(Error::invalid(format!("linux.personality.domain {other:?} is unknown"))),
    }
}

/// The text of a map file. Also used for id-mapped mounts.
pub(crate) fn id_map(what: &str, mappings: &[IdMapping]) -> Result<String> {
    if mappings.is_empty() {
        return Err(Error::invalid(format!("a new user namespace needs linux.{what}Mappings")));
    }
    bound("id mappings", mappings.len(), MAX_ID_MAPPINGS)?;
    let mut text = String::new();
    for mapping in mappings {
        let fits = |first: u32| first.checked_add(mapping.size).is_some();
        if mapping.size == 0 || !fits(mapping.container_id) || !fits(mapping.host_id) {
            return Err(Error::invalid(format!(
                "{what} mapping {}:{}:{} is empty or beyond 32 bits",
                mapping.container_id, mapping.host_id, mapping.size
            )));
        }
        text.push_str(&format!("{} {} {}\n", mapping.container_id, mapping.host_id, mapping.size));
    }
    Ok(text)
}

fn time_offsets(linux: &Linux, namespaces: &Namespaces) -> Result<String> {
    if linux.time_offsets.is_empty() {
        return Ok(String::new());
    }
    if !namespaces.is_new(NamespaceKind::Time) {
        return Err(Error::invalid("linux.timeOffsets are set without a new time namespace"));
    }
    let mut text = String::new();
    for (clock, offset) in &linux.time_offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::invalid(format!("linux.timeOffsets: clock {clock:?} is unknown")));
        }
        if offset.nanosecs >= 1_000_000_000 {
            return Err(Error::invalid(format!("linux.timeOffsets: {} nanoseconds are a second", offset.nanosecs)));
        }
        text.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
    }
    Ok(text)
}

fn check_device(device: &Device) -> Result<()> {
    let bad = |why: &str| Err(Error::invalid(format!("device {:?}: {why}", device.path)));
    if !device.path.starts_with('/') || device.path.ends_with('/') {
        return bad("the path is not absolute, or names no file");
    }
    match device.kind.as_str() {
        "p" => {}
        "c" | "u" | "b" => {
            let in_range = |n: Option<i64>| n.is_some_and(|n| (0..=i64::from(u32::MAX)).contains(&n));
            if !in_range(device.major) || !in_range(device.minor) {
                return bad("major and minor number are needed, from 0 to 2^32-1");
            }
        }
        _ => return bad("the type is none of c, u, b, p"),
    }
    if device.file_mode.is_some_and(|mode| mode & !0o7777 & !0o170_000 != 0) {
        return bad("the file mode has unknown bits");
    }
    Ok(())
}

fn bound(what: &str, count: usize, most: usize) -> Result<()> {
    if count > most {
        return Err(Error::invalid(format!("{count} entries in {what}; at most {most} are accepted")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::ErrorKind;

    fn plan(json: &str) -> Result<Plan> {
        Plan::new(&serde_json::from_str(json).unwrap(), Path::new("/bundle"), &[])
    }

    const PROCESS: &str = r#""process":{"args":["x"],"cwd":"/"}"#;
    const MOUNT_NS: &str = r#"{"type":"mount"}"#;

    #[test]
    fn refusals_name_the_field() {
        for (linux, rest, kind, names) in [
            (r#""netDevices":{"eth0":{}}"#, "", ErrorKind::NotImplemented, "linux.netDevices"),
            (r#""mountLabel":"x""#, "", ErrorKind::NotImplemented, "mountLabel"),
            (r#""personality":{"domain":"BSD"}"#, "", ErrorKind::InvalidParameter, "personality"),
            (r#""rootfsPropagation":"most""#, "", ErrorKind::InvalidParameter, "rootfsPropagation"),
            (
                r#""uidMappings":[{"containerID":0,"hostID":1,"size":1}]"#,
                "",
                ErrorKind::InvalidParameter,
                "uidMappings",
            ),
            (r#""timeOffsets":{"boottime":{"secs":1}}"#, "", ErrorKind::InvalidParameter, "timeOffsets"),
            (r#""devices":[{"type":"x","path":"/dev/x"}]"#, "", ErrorKind::InvalidParameter, "/dev/x"),
            (r#""sysctl":{"kernel.panic":"1"}"#, "", ErrorKind::InvalidParameter, "kernel.panic"),
            ("", r#","hostname":"h""#, ErrorKind::InvalidParameter, "hostname"),
            ("", r#","hooks":{"prestart":[{"path":"x"}]}"#, ErrorKind::InvalidParameter, "prestart"),
            ("", r#","mounts":[{"destination":"/x","options":["bind"]}]"#, ErrorKind::InvalidParameter, "/x"),
        ] {
            let comma = if linux.is_empty() { "" } else { "," };
            let json = format!(r#"{{{PROCESS}{rest},"linux":{{"namespaces":[{MOUNT_NS}]{comma}{linux}}}}}"#);
            let e = plan(&json).unwrap_err();
            assert_eq!(e.kind(), kind, "{e}");
            assert!(e.text().contains(names), "{e}");
        }
    }

    #[test]
    fn namespaces_become_flags() {
        let p = plan(&format!(
            r#"{{{PROCESS},"linux":{{"namespaces":[{MOUNT_NS},{{"type":"pid"}},{{"type":"cgroup"}},
            {{"type":"network","path":"/run/netns/x"}}]}}}}"#
        ))
        .unwrap();
        assert_eq!(p.namespaces.clone_flags(), ns::NEWNS | ns::NEWPID);
        assert_eq!(p.namespaces.joined().count(), 1);
        assert!(p.namespaces.is_new(NamespaceKind::Cgroup));
        assert!(plan(&format!(r#"{{{PROCESS}}}"#)).is_err(), "no mount namespace");
        assert!(plan(&format!(r#"{{{PROCESS},"linux":{{"namespaces":[{MOUNT_NS},{MOUNT_NS}]}}}}"#)).is_err());
    }

    #[test]
    fn id_maps_are_checked() {
        let map = |c, h, s| id_map("uid", &[IdMapping { container_id: c, host_id: h, size: s }]);
        assert_eq!(map(0, 1000, 10).unwrap(), "0 1000 10\n");
        assert!(map(0, 0, 0).is_err());
        assert!(map(0, u32::MAX, 2).is_err());
        assert!(id_map("uid", &[]).is_err());
    }
}
