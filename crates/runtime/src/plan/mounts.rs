//! One entry of `mounts`, understood. Pure.

use super::options::{IdMap, Options};
use crate::spec::{IdMapping, Linux, Mount};
use dhow_types::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// Where a mount's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A path on the host.
    Bind { path: PathBuf, tree: bool },
    /// The container's control group.
    Cgroup,
    /// A fresh mount of a file system.
    Fs { kind: String, device: Option<String> },
}

/// A mount.
#[derive(Clone, Debug)]
pub(crate) struct MountPlan {
    /// Absolute, without `.` and `..`.
    pub destination: PathBuf,
    pub source: Source,
    pub options: Options,
    /// Ids of an id-mapped mount: the texts of the uid and gid map.
    pub id_map: Option<(String, String)>,
}

/// Files of procfs that a mount may stand on, besides `/proc` itself (as runc allows: LXCFS and friends).
const OVER_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

impl MountPlan {
    pub(crate) fn new(mount: &Mount, bundle: &Path, linux: &Linux) -> Result<Self> {
        let destination = clean(&mount.destination);
        let bad = |why: String| Err(Error::invalid(format!("mount {}: {why}", mount.destination)));
        if destination == Path::new("/") {
            return bad("a mount on the root itself is not possible".into());
        }
        let options = Options::parse(&mount.options);
        let kind = mount.kind.as_deref().unwrap_or("");
        let source = match (kind, options.bind) {
            ("bind", tree) | ("" | "none", tree @ Some(_)) | (_, tree @ Some(_)) => {
                let given = match mount.source.as_deref() {
                    None | Some("") => return bad("a bind mount needs a source".into()),
                    Some(source) => source,
                };
                Source::Bind { path: bundle.join(given), tree: tree.unwrap_or(false) }
            }
            ("cgroup" | "cgroup2", None) => Source::Cgroup,
            ("" | "none", None) => return bad("neither a type nor the option bind is given".into()),
            (kind, None) => Source::Fs { kind: kind.to_owned(), device: mount.source.clone() },
        };
        if matches!(source, Source::Bind { .. })
            && let Some((key, _)) = options.data.first()
        {
            return bad(format!("option {key:?} is not one of a bind mount"));
        }
        if options.copy_up && !matches!(&source, Source::Fs { kind, .. } if kind == "tmpfs") {
            return bad("tmpcopyup is for tmpfs".into());
        }
        let text = destination.to_string_lossy();
        if !may_cover(&text, &source) {
            return bad("nothing may be mounted on or inside /proc but procfs itself".into());
        }
        let id_map = id_map(mount, &options, linux)?;
        if id_map.is_some() && !matches!(source, Source::Bind { .. }) {
            return bad("id mapping is for bind mounts".into());
        }
        Ok(Self { destination, source, options, id_map })
    }
}

/// Whether the tree below `/proc` is left alone: a fake procfs would make our own writes, and the container's labels,
/// go astray (2019-16884). A bind on `/proc` itself is checked when it is opened: only a real procfs will do.
fn may_cover(destination: &str, source: &Source) -> bool {
    match destination.strip_prefix("/proc") {
        None => true,
        Some("") => match source {
            Source::Fs { kind, .. } => kind == "proc",
            Source::Bind { .. } => true,
            Source::Cgroup => false,
        },
        Some(rest) => !rest.starts_with('/') || OVER_PROC.contains(&destination),
    }
}

/// Whether a mount on a file of procfs was allowed by name.
pub(crate) fn allowed_over_proc(destination: &Path) -> bool {
    destination.to_str().is_some_and(|d| OVER_PROC.contains(&d))
}

fn id_map(mount: &Mount, options: &Options, linux: &Linux) -> Result<Option<(String, String)>> {
    let own = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    let (uids, gids): (&[IdMapping], &[IdMapping]) = match (own, options.id_map) {
        (false, IdMap::No) => return Ok(None),
        (true, _) => (&mount.uid_mappings, &mount.gid_mappings),
        (false, _) => (&linux.uid_mappings, &linux.gid_mappings),
    };
    let prefix = |e: Error| e.prefixed(format!("mount {}: id mapping", mount.destination));
    Ok(Some((super::id_map("uid", uids).map_err(prefix)?, super::id_map("gid", gids).map_err(prefix)?)))
}

/// An absolute path without `.` and `..`; what stands above `/` is `/`.
pub(crate) fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(destination: &str, kind: &str, source: &str, options: &[&str]) -> Result<MountPlan> {
        MountPlan::new(&Mount::new(destination, kind, source, options), Path::new("/b"), &Linux::default())
    }

    #[test]
    fn sources() {
        let p = plan("/x", "bind", "vol", &["rbind", "ro"]).unwrap();
        assert_eq!(p.source, Source::Bind { path: "/b/vol".into(), tree: true });
        let p = plan("x/../y/.", "none", "/a", &["bind"]).unwrap();
        assert_eq!((p.source, p.destination), (Source::Bind { path: "/a".into(), tree: false }, "/y".into()));
        assert_eq!(plan("/c", "cgroup", "cgroup", &["ro"]).unwrap().source, Source::Cgroup);
        assert!(plan("/", "tmpfs", "tmpfs", &[]).is_err());
        assert!(plan("/x", "", "/a", &[]).is_err());
        assert!(plan("/x", "bind", "", &[]).is_err());
        assert!(plan("/x", "bind", "/a", &["size=1"]).is_err());
        assert!(plan("/x", "proc", "proc", &["tmpcopyup"]).is_err());
        assert!(plan("/x", "tmpfs", "tmpfs", &["idmap"]).is_err());
    }

    #[test]
    fn esc_fake_proc() {
        assert!(plan("/proc", "proc", "proc", &[]).is_ok());
        assert!(plan("/proc", "bind", "/proc", &["rbind"]).is_ok());
        assert!(plan("/proc", "tmpfs", "tmpfs", &[]).is_err());
        assert!(plan("/x/../proc/", "tmpfs", "tmpfs", &[]).is_err());
        assert!(plan("/proc/self/attr", "tmpfs", "tmpfs", &[]).is_err());
        assert!(plan("/proc/sys", "bind", "/x", &["bind"]).is_err());
        // What LXCFS does is lawful, and so is a directory that only looks alike.
        assert!(plan("/proc/meminfo", "bind", "/x", &["bind"]).is_ok());
        assert!(plan("/processes", "tmpfs", "tmpfs", &[]).is_ok());
    }
}
