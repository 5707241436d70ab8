//! Two trees compared by descriptor: the one that is in use and the one its layer's tar gives.
//!
//! Content is compared only where the tar does not have all of it, in sparse files; the rest is covered by the
//! layer's digest. Nothing is changed here, and no name is resolved through a link.

use crate::names::{join, shown};
use dhow_types::{Context as _, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, flistxattr, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

/// One thing in which a tree differs from what its layer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Below the root of the layer; empty for the root itself.
    pub path: Vec<u8>,
    pub what: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = if self.path.is_empty() { "/".to_owned() } else { shown(&self.path) };
        write!(f, "{path} {}", self.what)
    }
}

/// Attributes longer than the kernel allows are no attributes.
const XATTR_MAX: usize = 64 << 10;
/// Bytes compared at once.
const PIECE: usize = 64 << 10;

/// Compares `have` with `want`. `sparse` says of which files the content is compared, and `told` which ones are known to
/// be wrong. At most `limit` differences are returned.
pub(super) fn compare(
    have: OwnedFd,
    want: OwnedFd,
    sparse: &dyn Fn(&[u8]) -> bool,
    told: &HashSet<Vec<u8>>,
    limit: usize,
) -> Result<Vec<Difference>> {
    let mut c = Comparison { sparse, told, limit, links: HashMap::new(), found: Vec::new() };
    let (a, b) = (stat_of(&have)?, stat_of(&want)?);
    c.stats(b"", &a, &b);
    c.attributes(b"", have.as_fd(), want.as_fd())?;
    // One descriptor of each tree for every directory on the way; their depth is limited when layers are unpacked.
    let mut stack = vec![Level::open(Vec::new(), have, want, &mut c)?];
    while let Some(level) = stack.last_mut() {
        if c.full() {
            break;
        }
        let Some(name) = level.todo.pop() else {
            stack.pop();
            continue;
        };
        if let Some(below) = c.one(level, &name)? {
            stack.push(below);
        }
    }
    c.separated_links();
    Ok(c.found)
}

/// A directory of both trees, and the names in both that are still to be compared.
struct Level {
    path: Vec<u8>,
    have: OwnedFd,
    want: OwnedFd,
    todo: Vec<Vec<u8>>,
}

impl Level {
    fn open(path: Vec<u8>, have: OwnedFd, want: OwnedFd, c: &mut Comparison<'_>) -> Result<Self> {
        let (mine, wanted) = (names(&have)?, names(&want)?);
        for name in mine.difference(&wanted) {
            c.note(&join(&path, name), "does not belong to the layer");
        }
        for name in wanted.difference(&mine) {
            c.note(&join(&path, name), "is missing");
        }
        let mut todo: Vec<Vec<u8>> = mine.intersection(&wanted).cloned().collect();
        todo.reverse();
        Ok(Self { path, have, want, todo })
    }
}

struct Comparison<'a> {
    sparse: &'a dyn Fn(&[u8]) -> bool,
    told: &'a HashSet<Vec<u8>>,
    limit: usize,
    /// Files with several names: where the wanted tree has them, and which file of the other tree each name is.
    links: HashMap<u64, Vec<(Vec<u8>, u64)>>,
    found: Vec<Difference>,
}

impl Comparison<'_> {
    fn full(&self) -> bool {
        self.found.len() >= self.limit
    }

    fn note(&mut self, path: &[u8], what: impl Into<String>) {
        if !self.full() && !self.told.contains(path) {
            self.found.push(Difference { path: path.to_vec(), what: what.into() });
        }
    }

    /// Compares what both trees have at `name`; a directory is returned to be gone through.
    fn one(&mut self, level: &Level, name: &[u8]) -> Result<Option<Level>> {
        let path = join(&level.path, name);
        let what = || format!("compare {}", shown(&path));
        let at = |dir: &OwnedFd| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(std::io::Error::from);
        let (a, b) = (at(&level.have).with_context(what)?, at(&level.want).with_context(what)?);
        let (kind_a, kind_b) = (FileType::from_raw_mode(a.st_mode), FileType::from_raw_mode(b.st_mode));
        if kind_a != kind_b {
            self.note(&path, format!("is {} and should be {}", kind(&a), kind(&b)));
            return Ok(None);
        }
        self.stats(&path, &a, &b);
        match kind_a {
            FileType::Directory => {
                let open = |dir: &OwnedFd| {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    openat(dir, name, flags, Mode::empty()).map_err(std::io::Error::from)
                };
                let (have, want) = (open(&level.have).with_context(what)?, open(&level.want).with_context(what)?);
                self.attributes(&path, have.as_fd(), want.as_fd()).with_context(what)?;
                return Level::open(path, have, want, self).map(Some);
            }
            FileType::RegularFile => {
                if b.st_nlink > 1 || a.st_nlink > 1 {
                    self.links.entry(b.st_ino).or_default().push((path.clone(), a.st_ino));
                }
                let open = |dir: &OwnedFd| {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
                    openat(dir, name, flags, Mode::empty()).map(File::from).map_err(std::io::Error::from)
                };
                let (have, want) = (open(&level.have).with_context(what)?, open(&level.want).with_context(what)?);
                self.attributes(&path, have.as_fd(), want.as_fd()).with_context(what)?;
                let holes = (b.st_blocks as u64).saturating_mul(512) < b.st_size as u64;
                if a.st_size == b.st_size && (holes || (self.sparse)(&path)) {
                    match same_content(&have, &want) {
                        Ok(true) => {}
                        Ok(false) => self.note(&path, "has other bytes than it had"),
                        Err(e) => self.note(&path, format!("cannot be read: {}", dhow_types::Error::from(e))),
                    }
                }
            }
            FileType::Symlink => {
                let target = |dir: &OwnedFd| readlinkat(dir, name, Vec::new()).map_err(std::io::Error::from);
                let (a, b) = (target(&level.have).with_context(what)?, target(&level.want).with_context(what)?);
                if a != b {
                    self.note(
                        &path,
                        format!("points to {} and should point to {}", shown(a.as_bytes()), shown(b.as_bytes())),
                    );
                }
                self.attributes_of_name(&path, level, name).with_context(what)?;
            }
            _ => self.attributes_of_name(&path, level, name).with_context(what)?,
        }
        Ok(None)
    }

    fn stats(&mut self, path: &[u8], a: &Stat, b: &Stat) {
        if a.st_mode != b.st_mode {
            self.note(
                path,
                format!("has the mode {:04o} and should have {:04o}", a.st_mode & 0o7777, b.st_mode & 0o7777),
            );
        }
        if (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid) {
            let text = format!("belongs to {}:{} and should belong to {}:{}", a.st_uid, a.st_gid, b.st_uid, b.st_gid);
            self.note(path, text);
        }
        if FileType::from_raw_mode(a.st_mode) != FileType::Directory && a.st_size != b.st_size {
            self.note(path, format!("has {} bytes and should have {}", a.st_size, b.st_size));
        }
        if (a.st_mtime, a.st_mtime_nsec) != (b.st_mtime, b.st_mtime_nsec) {
            self.note(path, format!("has the time {} and should have {}", time(a), time(b)));
        }
        if a.st_rdev != b.st_rdev {
            self.note(path, format!("is {} and should be {}", kind(a), kind(b)));
        }
    }

    fn attributes(&mut self, path: &[u8], a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Result<()> {
        let (a, b) = (attributes(&ByFd(a))?, attributes(&ByFd(b))?);
        self.attribute_maps(path, &a, &b);
        Ok(())
    }

    fn attributes_of_name(&mut self, path: &[u8], level: &Level, name: &[u8]) -> Result<()> {
        let below = |dir: &OwnedFd| {
            let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
            path.extend_from_slice(name);
            ByName(path)
        };
        let (a, b) = (attributes(&below(&level.have))?, attributes(&below(&level.want))?);
        self.attribute_maps(path, &a, &b);
        Ok(())
    }

    fn attribute_maps(&mut self, path: &[u8], a: &Attributes, b: &Attributes) {
        for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
            match (a.get(key), b.get(key)) {
                (Some(x), Some(y)) if x == y => {}
                (Some(_), Some(_)) => self.note(path, format!("has another value of the attribute {}", shown(key))),
                (Some(_), None) => self.note(path, format!("should not have the attribute {}", shown(key))),
                (None, _) => self.note(path, format!("lacks the attribute {}", shown(key))),
            }
        }
    }

    /// Names of one file that have become several files, or the other way round.
    fn separated_links(&mut self) {
        let mut owner: HashMap<u64, u64> = HashMap::new();
        let mut wrong = Vec::new();
        for (want, names) in &self.links {
            let Some((_, first)) = names.first() else { continue };
            for (path, ino) in names {
                let taken = owner.insert(*ino, *want).is_some_and(|other| other != *want);
                if ino != first {
                    wrong.push((path.clone(), "is no longer the same file as its other names"));
                } else if taken {
                    wrong.push((path.clone(), "is the same file as a name that should be another file"));
                }
            }
        }
        wrong.sort();
        for (path, text) in wrong {
            self.note(&path, text);
        }
    }
}

fn stat_of(fd: &OwnedFd) -> Result<Stat> {
    Ok(rustix::fs::fstat(fd).map_err(std::io::Error::from)?)
}

fn names(dir: &OwnedFd) -> Result<BTreeSet<Vec<u8>>> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(dir).map_err(std::io::Error::from)? {
        let name = entry.map_err(std::io::Error::from)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.insert(name);
        }
    }
    Ok(names)
}

fn kind(s: &Stat) -> String {
    let device = || format!("{}:{}", rustix::fs::major(s.st_rdev), rustix::fs::minor(s.st_rdev));
    match FileType::from_raw_mode(s.st_mode) {
        FileType::Directory => "a directory".into(),
        FileType::RegularFile => "a file".into(),
        FileType::Symlink => "a symbolic link".into(),
        FileType::Fifo => "a named pipe".into(),
        FileType::Socket => "a socket".into(),
        FileType::CharacterDevice if s.st_rdev == 0 => "a whiteout".into(),
        FileType::CharacterDevice => format!("the character device {}", device()),
        FileType::BlockDevice => format!("the block device {}", device()),
        _ => "of an unknown kind".into(),
    }
}

fn time(s: &Stat) -> String {
    jiff::Timestamp::new(s.st_mtime, s.st_mtime_nsec as i32)
        .map_or_else(|_| format!("{}.{:09}", s.st_mtime, s.st_mtime_nsec), |t| t.to_string())
}

type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// Something that has attributes: opened, or only named because it cannot be opened.
trait Attributed {
    fn list(&self, buffer: &mut [u8]) -> rustix::io::Result<usize>;
    fn get(&self, key: &[u8], buffer: &mut [u8]) -> rustix::io::Result<usize>;
}

struct ByFd<'a>(BorrowedFd<'a>);
struct ByName(Vec<u8>);

impl Attributed for ByFd<'_> {
    fn list(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        flistxattr(self.0, buffer)
    }
    fn get(&self, key: &[u8], buffer: &mut [u8]) -> rustix::io::Result<usize> {
        fgetxattr(self.0, key, buffer)
    }
}

impl Attributed for ByName {
    fn list(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::fs::llistxattr(self.0.as_slice(), buffer)
    }
    fn get(&self, key: &[u8], buffer: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::fs::lgetxattr(self.0.as_slice(), key, buffer)
    }
}

/// All attributes but labels of security modules, which the machine gives and no image does.
fn attributes(of: &dyn Attributed) -> Result<Attributes> {
    let mut few = [0; 256];
    let mut many = Vec::new();
    let names = match of.list(&mut few) {
        // Most things have none.
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Attributes::new()),
        Ok(n) => &few[..n],
        Err(Errno::RANGE) => {
            many.resize(XATTR_MAX, 0);
            let n = of.list(&mut many).map_err(std::io::Error::from)?;
            &many[..n]
        }
        Err(e) => return Err(std::io::Error::from(e).into()),
    };
    let mut value = vec![0; XATTR_MAX];
    let mut all = Attributes::new();
    for key in names.split(|&b| b == 0).filter(|k| !k.is_empty()) {
        if key.starts_with(b"security.") && key != b"security.capability" {
            continue;
        }
        let n = of.get(key, &mut value).map_err(std::io::Error::from)?;
        all.insert(key.to_vec(), value[..n].to_vec());
    }
    Ok(all)
}

fn same_content(a: &File, b: &File) -> std::io::Result<bool> {
    let (mut x, mut y) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    loop {
        let n = fill(a, &mut x, at)?;
        if n != fill(b, &mut y, at)? || x[..n] != y[..n] {
            return Ok(false);
        }
        if n < PIECE {
            return Ok(true);
        }
        at += n as u64;
    }
}

fn fill(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn sample(dir: &Path) {
        std::fs::create_dir_all(dir.join("d/e")).unwrap();
        std::fs::write(dir.join("d/f"), "12345").unwrap();
        std::fs::write(dir.join("d/e/g"), "1").unwrap();
        std::fs::hard_link(dir.join("d/f"), dir.join("same")).unwrap();
        symlink("d/f", dir.join("link")).unwrap();
        File::create(dir.join("hole")).unwrap().set_len(300_000).unwrap();
        for name in ["d/f", "d/e/g", "hole", "d/e", "d", "."] {
            still(&dir.join(name));
        }
        rustix::fs::utimensat(rustix::fs::CWD, dir.join("link"), &zero(), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }

    fn zero() -> rustix::fs::Timestamps {
        let t = rustix::fs::Timespec { tv_sec: 7, tv_nsec: 0 };
        rustix::fs::Timestamps { last_access: t, last_modification: t }
    }

    fn still(path: &Path) {
        rustix::fs::utimensat(rustix::fs::CWD, path, &zero(), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }

    fn differences(change: impl Fn(&Path)) -> Vec<String> {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        sample(a.path());
        sample(b.path());
        change(a.path());
        for dir in ["d/e", "d", "."] {
            if a.path().join(dir).is_dir() {
                still(&a.path().join(dir));
            }
        }
        let open = |d: &Path| OwnedFd::from(File::open(d).unwrap());
        let none = HashSet::new();
        let found = compare(open(a.path()), open(b.path()), &|_| false, &none, 100).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    /// Changes a tree in one way.
    type Change = fn(&Path);

    #[test]
    fn every_sort_of_difference_is_named() {
        assert_eq!(differences(|_| {}), Vec::<String>::new());
        let rows: [(Change, &[&str]); 10] = [
            (
                |d| std::fs::set_permissions(d.join("d/e/g"), PermissionsExt::from_mode(0o4600)).unwrap(),
                &["d/e/g has the mode 4600 and should have 0644"],
            ),
            (
                |d| std::os::unix::fs::lchown(d.join("d/e"), Some(5), Some(6)).unwrap(),
                &["d/e belongs to 5:6 and should belong to 0:0"],
            ),
            (|d| std::fs::write(d.join("d/extra"), "").unwrap(), &["d/extra does not belong to the layer"]),
            (|d| std::fs::remove_dir_all(d.join("d/e")).unwrap(), &["d/e is missing"]),
            (
                |d| {
                    std::fs::remove_file(d.join("link")).unwrap();
                    symlink("d/x", d.join("link")).unwrap();
                    still(&d.join("link"));
                },
                &["link points to d/x and should point to d/f"],
            ),
            (
                |d| {
                    std::fs::remove_file(d.join("link")).unwrap();
                    std::fs::write(d.join("link"), "").unwrap();
                },
                &["link is a file and should be a symbolic link"],
            ),
            (
                |d| {
                    std::fs::remove_file(d.join("same")).unwrap();
                    std::fs::write(d.join("same"), "12345").unwrap();
                    still(&d.join("same"));
                },
                &["same is no longer the same file as its other names"],
            ),
            (
                |d| {
                    File::options().write(true).open(d.join("hole")).unwrap().write_at(b"x", 150_000).unwrap();
                    still(&d.join("hole"));
                },
                &["hole has other bytes than it had"],
            ),
            (
                |d| {
                    let f = File::open(d.join("d/f")).unwrap();
                    rustix::fs::fsetxattr(f, "user.k", b"v", rustix::fs::XattrFlags::empty()).unwrap();
                },
                &["d/f should not have the attribute user.k", "same should not have the attribute user.k"],
            ),
            (
                |d| std::fs::File::open(d.join("d/e/g")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap(),
                &["d/e/g has the time 1970-01-01T00:00:00Z and should have 1970-01-01T00:00:07Z"],
            ),
        ];
        for (change, want) in rows {
            assert_eq!(differences(change), want);
        }
    }
}
