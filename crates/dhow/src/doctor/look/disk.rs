//! File systems: their room, and how they are mounted.

use super::super::facts::{Room, Seen, Unseen};
use super::{text, unseen};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Directories of the root between which things are renamed.
const WHOLE: [&str; 6] = ["blobs", "layers", "recipes", "tmp", "trash", "containers"];

/// The part of a path that exists.
pub fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Looks at what `path` is on.
pub fn look(path: &Path) -> Seen<Room> {
    // A directory that others may not enter still has a file system.
    let exists = existing(path);
    let fs = rustix::fs::statvfs(&exists).map_err(|e| unseen(&e.into()))?;
    let mounts = text("/proc/self/mountinfo").ok_or_else(|| Unseen::Other("no mount table".to_owned()))?;
    let real = std::fs::canonicalize(&exists).map_err(|e| unseen(&e))?;
    let mount = find(&mounts, &real).unwrap_or_default();
    let device = std::fs::metadata(&exists).map_err(|e| unseen(&e))?.dev();
    let elsewhere = |name: &&&str| std::fs::metadata(path.join(name)).is_ok_and(|m| m.dev() != device);
    Ok(Room {
        exists,
        bytes: (fs.f_bavail * fs.f_frsize, fs.f_blocks * fs.f_frsize),
        inodes: (fs.f_favail, fs.f_files),
        kind: mount.kind,
        mount: mount.point,
        options: mount.options,
        elsewhere: WHOLE.iter().filter(elsewhere).map(|name| path.join(name)).collect(),
    })
}

/// Options that matter of what is mounted at `point`.
pub fn options_at(point: &Path) -> Vec<String> {
    text("/proc/self/mountinfo").and_then(|m| find(&m, point)).map(|m| m.options).unwrap_or_default()
}

/// The kind of file system that a directory is on.
pub fn kind_of(dir: &Path) -> Option<String> {
    let real = std::fs::canonicalize(dir).ok()?;
    Some(find(&text("/proc/self/mountinfo")?, &real)?.kind)
}

/// A line of the mount table.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    kind: String,
    options: Vec<String>,
}

/// The mount that a path is on: the deepest, and of several at one place the last.
fn find(mountinfo: &str, path: &Path) -> Option<Mount> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let words: Vec<&str> = left.split(' ').collect();
        let point = PathBuf::from(unescape(words.get(4)?));
        let mut behind = right.split(' ');
        let kind = behind.next()?;
        let super_options = behind.nth(1).unwrap_or_default();
        let has = |o: &&&str| words.get(5).is_some_and(|w| w.split(',').any(|w| w == **o));
        let mut options: Vec<String> =
            ["ro", "noexec", "nosuid", "nodev"].iter().filter(has).map(|o| (*o).to_owned()).collect();
        if super_options.split(',').any(|o| o == "ro") && !options.iter().any(|o| o == "ro") {
            options.insert(0, "ro".to_owned());
        }
        let kind = if kind.starts_with("fuse.") { "fuse" } else { kind };
        Some(Mount { point, kind: kind.to_owned(), options })
    });
    mounts.filter(|m| path.starts_with(&m.point)).max_by_key(|m| m.point.components().count())
}

/// Blanks and their like, which the kernel writes as `\040`.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_path() {
        let table = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/a rw\n\
                     23 22 8:2 / /var rw,noexec,nodev - xfs /dev/b rw,attr2\n\
                     24 23 0:5 / /var/lib/my\\040dir rw - fuse.sshfs x ro\n\
                     25 22 0:6 / /run rw,nosuid - tmpfs t rw\n26 22 0:7 / /run ro - tmpfs t rw\n";
        let get = |path: &str| {
            let m = find(table, Path::new(path)).unwrap();
            format!("{} {} {}", m.point.display(), m.kind, m.options.join(","))
        };
        assert_eq!(get("/home"), "/ ext4 ");
        assert_eq!(get("/var/lib/dhow"), "/var xfs noexec,nodev");
        assert_eq!(get("/var/lib/my dir/x"), "/var/lib/my dir fuse ro");
        assert_eq!(get("/variety"), "/ ext4 ");
        assert_eq!(get("/run/dhow"), "/run tmpfs ro");
    }
}
