//! What the machine has: which hierarchies are mounted where, which controllers they hold, and where this process
//! itself sits in each. Parsing is pure; `Layout::detect` is the only part that reads files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_types::{Context, Error, Result};

use crate::path::{self, Parent, PathMap};

/// The longest `/proc/self/mountinfo` that is read; thousands of mounts fit.
const MAX_MOUNTINFO: usize = 16 << 20;
/// The longest `/proc/self/cgroup` or controller list.
const MAX_SMALL: usize = 64 << 10;
/// How many groups are asked which files a controller has.
const MAX_PROBED: usize = 16;
/// The leaf into which a daemon moves itself when its own v2 group must hand out controllers.
pub(crate) const DAEMON_LEAF: &str = "dhow-daemon";
/// The name of the group that holds all groups made here.
const HOME: &str = "/dhow";

/// Which kind of control groups the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One unified hierarchy.
    V2,
    /// Controllers on v1 hierarchies, and a v2 hierarchy beside them.
    Hybrid,
    /// v1 hierarchies only.
    V1,
    /// Nothing is mounted.
    None,
}

/// The interface of one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Files as in the kernel's cgroup-v1 documents.
    V1,
    /// Files as in cgroup-v2.rst.
    V2,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// `unified` for v2, else what the kernel calls it: `memory`, `cpu,cpuacct`, `name=systemd`.
    key: String,
    version: Version,
    controllers: Vec<String>,
    mount_point: PathBuf,
    /// Where this process is, counted from the mounted root.
    own: String,
}

impl Hierarchy {
    /// `unified` for v2, else the kernel's name for it: `memory`, `cpu,cpuacct`, `name=systemd`.
    pub fn key(&self) -> &str {
        &self.key
    }
    /// v1 or v2.
    pub fn version(&self) -> Version {
        self.version
    }
    /// The controllers it holds; none for a named hierarchy.
    pub fn controllers(&self) -> &[String] {
        &self.controllers
    }
    /// Where it is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }
    /// Where this process sits, counted from the mounted root.
    pub fn own(&self) -> &str {
        &self.own
    }
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
    pub(crate) fn is_v2(&self) -> bool {
        self.version == Version::V2
    }
    /// The group's directory as a path for messages and for mounts made by the runtime.
    pub(crate) fn dir(&self, group: &str) -> PathBuf {
        self.mount_point.join(group.trim_start_matches('/'))
    }
    /// Where groups go in this hierarchy when nobody says.
    ///
    /// Beneath our own group, so that whoever limited us also limits them; except where our own group is the root,
    /// or belongs to systemd, which forbids others to make groups in what it did not delegate.
    fn default_parent(&self) -> String {
        let own = self.own.strip_suffix(DAEMON_LEAF).and_then(|p| p.strip_suffix('/')).unwrap_or(&self.own);
        let last = own.rsplit('/').next().unwrap_or("");
        if own.is_empty() || own == "/" || last.ends_with(".service") || last.ends_with(".scope") {
            HOME.to_string()
        } else {
            path::join(own, HOME)
        }
    }
}

#[derive(Debug)]
struct Inner {
    hierarchies: Vec<Hierarchy>,
    controllers: Vec<String>,
}

/// What the machine has; cheap to clone.
#[derive(Clone, Debug)]
pub struct Layout(Arc<Inner>);

impl Layout {
    /// Looks at `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub fn detect() -> Result<Layout> {
        let mounts = crate::dir::read_path("/proc/self/mountinfo", MAX_MOUNTINFO).context("read the mount table")?;
        // A kernel without control groups has no such file.
        let own = match crate::dir::read_path("/proc/self/cgroup", MAX_SMALL) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.context("read /proc/self/cgroup")?,
        };
        Self::parse(&mounts, &own, &|dir| {
            crate::dir::read_path(dir.join("cgroup.controllers"), MAX_SMALL).map_err(Error::from)
        })
    }

    /// The pure part: both files' text, and how to read the controllers of a v2 mount.
    pub(crate) fn parse(
        mountinfo: &str,
        own: &str,
        v2_controllers: &dyn Fn(&Path) -> Result<String>,
    ) -> Result<Layout> {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
        for line in own.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_id), Some(names), Some(own_path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let found = mounts.iter().filter(|m| m.holds(names));
            // Where a hierarchy is mounted twice (a bind mount for a container), the mount of its root says most.
            let Some(mount) = found.min_by_key(|m| (m.root != "/", m.root.len())) else { continue };
            let own = path::clean(own_path).unwrap_or_else(|_| "/".into());
            let own = match mount.root.as_str() {
                "/" => own,
                root => match own.strip_prefix(root) {
                    Some(rest) if rest.starts_with('/') => rest.to_string(),
                    _ => "/".into(),
                },
            };
            let (key, version, controllers) = if names.is_empty() {
                let list = v2_controllers(&mount.point)
                    .with_context(|| format!("read the controllers of {}", mount.point.display()))?;
                ("unified", Version::V2, list.split_whitespace().map(str::to_string).collect())
            } else if names.starts_with("name=") {
                (names, Version::V1, Vec::new())
            } else {
                (names, Version::V1, names.split(',').map(str::to_string).collect())
            };
            hierarchies.push(Hierarchy {
                key: key.to_string(),
                version,
                controllers,
                mount_point: mount.point.clone(),
                own,
            });
        }
        // v2 first: it is the hierarchy a process is born into, and the one that freezes, kills and reports.
        hierarchies.sort_by_key(|h| !h.is_v2());
        let mut controllers: Vec<String> = hierarchies.iter().flat_map(|h| h.controllers.iter().cloned()).collect();
        controllers.sort();
        controllers.dedup();
        Ok(Layout(Arc::new(Inner { hierarchies, controllers })))
    }

    /// Which kind of control groups this is.
    pub fn mode(&self) -> Mode {
        let v1 = self.hierarchies().iter().any(|h| !h.is_v2() && !h.controllers.is_empty());
        match (self.v2().is_some(), v1) {
            (true, true) => Mode::Hybrid,
            (true, false) => Mode::V2,
            (false, true) => Mode::V1,
            (false, false) => Mode::None,
        }
    }
    /// Names of all controllers, sorted.
    pub fn controllers(&self) -> &[String] {
        &self.0.controllers
    }
    /// All hierarchies; v2, where there is one, comes first.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.0.hierarchies
    }
    /// The hierarchy that holds `controller`.
    pub fn holder(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies().iter().find(|h| h.has(controller))
    }
    /// The v2 hierarchy, alone or beside v1.
    pub fn v2(&self) -> Option<&Hierarchy> {
        self.hierarchies().iter().find(|h| h.is_v2())
    }
    /// Whether groups of `controller` have `file`; `None` where no group shows it. Roots lack most files, so our own
    /// group or any child of the root is asked.
    pub(crate) fn has_file(&self, controller: &str, file: &str) -> Option<bool> {
        let hierarchy = self.holder(controller)?;
        let root = crate::dir::GroupDir::root(&hierarchy.mount_point).ok()?;
        if root.has(file) {
            return Some(true);
        }
        let shows = |dir: &crate::dir::GroupDir| {
            // On v2 a group has only the files of controllers that its parent hands out.
            let member = !hierarchy.is_v2()
                || dir.read("cgroup.controllers").is_ok_and(|c| c.split_whitespace().any(|c| c == controller));
            member.then(|| dir.has(file))
        };
        if hierarchy.own != "/" {
            return root.open(&hierarchy.own).ok().and_then(|d| shows(&d));
        }
        let children = root.children().ok()?;
        children.iter().take(MAX_PROBED).filter_map(|name| root.open(name).ok()).find_map(|d| shows(&d))
    }
    /// Where groups go without `--cgroup-parent`: `/dhow` where our own group is the root or belongs to systemd,
    /// else `dhow` beneath our own group; decided for each hierarchy.
    pub fn default_parent(&self) -> Parent {
        let by: BTreeMap<String, String> =
            self.hierarchies().iter().map(|h| (h.key.clone(), h.default_parent())).collect();
        Parent(PathMap::new(HOME.into(), by))
    }
    /// `--cgroup-parent`: an absolute path counts from each hierarchy's root, a relative one from the default parent.
    pub fn parent(&self, cgroup_parent: &str) -> Result<Parent> {
        match cgroup_parent {
            "" => Ok(self.default_parent()),
            p if p.starts_with('/') => Parent::absolute(p),
            p => self.default_parent().child(p),
        }
    }
}

/// One line of mountinfo that is a cgroup mount.
struct Mount {
    root: String,
    point: PathBuf,
    v2: bool,
    options: String,
}

impl Mount {
    /// Format: proc_pid_mountinfo(5).
    fn parse(line: &str) -> Option<Mount> {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let v2 = match right.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        let options = right.nth(1)?.to_string();
        let mut left = left.split(' ').skip(3);
        let (root, point) = (unescape(left.next()?), unescape(left.next()?));
        Some(Mount { root, point: PathBuf::from(point), v2, options })
    }
    /// Whether this is the mount of the hierarchy that /proc/self/cgroup calls `names`.
    fn holds(&self, names: &str) -> bool {
        match names {
            "" => self.v2,
            _ => !self.v2 && names.split(',').all(|n| self.options.split(',').any(|o| o == n)),
        }
    }
}

/// mountinfo writes space, tab, newline and backslash as `\ooo`.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).and_then(|d| std::str::from_utf8(d).ok());
        match (bytes[at], octal.and_then(|d| u8::from_str_radix(d, 8).ok())) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                at += 4;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2_MOUNT: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpuacct,cpu\n\
        36 31 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
        50 31 0:33 /some/bind /mnt/my\\040memory rw,relatime - cgroup cgroup rw,memory\n";

    fn layout(mounts: &str, own: &str, v2: &str) -> Layout {
        Layout::parse(mounts, own, &|_| Ok(v2.to_string())).unwrap()
    }

    #[test]
    fn the_mode_follows_from_what_is_mounted() {
        assert_eq!(layout(V2_MOUNT, "0::/\n", "cpu memory\n").mode(), Mode::V2);
        let own = "4:cpu,cpuacct:/\n3:memory:/a\n2:name=systemd:/\n0::/\n";
        assert_eq!(layout(HYBRID, own, "hugetlb").mode(), Mode::Hybrid);
        assert_eq!(layout(&HYBRID.replace("cgroup2", "x"), own, "").mode(), Mode::V1);
        assert_eq!(layout("", own, "").mode(), Mode::None);
        assert_eq!(layout(V2_MOUNT, "", "").mode(), Mode::None);
        // Only the tree of systemd's own, which holds no controllers.
        let only_named = "40 31 0:37 / /c/systemd rw - cgroup cgroup rw,xattr,name=systemd\n";
        assert_eq!(layout(only_named, "1:name=systemd:/\n", "").mode(), Mode::None);
    }

    #[test]
    fn controllers_are_found_where_they_are() {
        let own = "4:cpu,cpuacct:/\n3:memory:/a\n2:name=systemd:/\n0::/\n";
        let l = layout(HYBRID, own, "hugetlb\n");
        assert_eq!(l.controllers(), ["cpu", "cpuacct", "hugetlb", "memory"]);
        assert_eq!(l.hierarchies()[0].key(), "unified");
        assert_eq!(l.holder("cpuacct").unwrap().mount_point(), Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        // The mount of the whole hierarchy, not the bind mount.
        assert_eq!(l.holder("memory").unwrap().mount_point(), Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(l.holder("hugetlb").unwrap().version(), Version::V2);
        assert_eq!(unescape("/mnt/my\\040memory"), "/mnt/my memory");
        assert_eq!(unescape("a\\x\\"), "a\\x\\");
    }

    #[test]
    fn the_default_parent_is_decided_for_each_hierarchy() {
        for (own, want) in [
            ("/", "/dhow"),
            ("/system.slice/dhow.service", "/dhow"),
            ("/user.slice/user-0.slice/session-1.scope", "/dhow"),
            ("/engine-a", "/engine-a/dhow"),
            ("/engine-a/dhow-daemon", "/engine-a/dhow"),
            ("/dhow-daemon", "/dhow"),
            ("/x.service/inner", "/x.service/inner/dhow"),
            ("/../outside", "/dhow"),
        ] {
            let l = layout(V2_MOUNT, &format!("0::{own}\n"), "memory");
            assert_eq!(l.default_parent().path_in("unified"), want, "{own}");
        }
        let l = layout(HYBRID, "4:cpu,cpuacct:/\n3:memory:/box/7\n0::/\n", "");
        assert_eq!(l.default_parent().path_in("memory"), "/box/7/dhow");
        assert_eq!(l.default_parent().path_in("cpu,cpuacct"), "/dhow");
    }

    #[test]
    fn a_parent_that_is_given_counts_from_the_root_or_from_the_default() {
        let l = layout(V2_MOUNT, "0::/box\n", "");
        assert_eq!(l.parent("").unwrap().path_in("unified"), "/box/dhow");
        assert_eq!(l.parent("/a/b").unwrap().path_in("unified"), "/a/b");
        assert_eq!(l.parent("a").unwrap().path_in("unified"), "/box/dhow/a");
        assert!(l.parent("/a/../..").is_err());
    }

    #[test]
    fn a_bind_mounted_group_is_the_root_that_is_seen() {
        let mount = "36 31 0:33 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let own = |path: &str| layout(mount, &format!("3:memory:{path}\n"), "").hierarchies()[0].own().to_string();
        assert_eq!(own("/docker/abc"), "/");
        assert_eq!(own("/docker/abc/in"), "/in");
        assert_eq!(own("/elsewhere"), "/");
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let l = Layout::detect().unwrap();
        for h in l.hierarchies() {
            assert!(h.mount_point().is_dir() && h.own().starts_with('/'), "{h:?}");
        }
    }
}
