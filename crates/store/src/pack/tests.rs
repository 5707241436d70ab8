//! Trees made by unpacking, packed again as layers: the same tree comes back.

use super::*;
use crate::Limits;
use crate::apply::{Workplace, apply};
use proptest::prelude::*;
use rustix::fs::{CWD, Mode, XattrFlags};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, symlink};

fn layer(dir: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    layer_tar(dir, &mut out).unwrap();
    out
}

fn exported(layers: &[&Path]) -> Vec<u8> {
    let mut out = Vec::new();
    View::open(layers).unwrap().export(&mut out).unwrap();
    out
}

/// Everything that can be seen of a tree: what each path is, and which paths are the same file.
fn seen(root: &Path) -> BTreeMap<Vec<u8>, String> {
    fn of(path: &Path, name: Vec<u8>, inodes: &mut BTreeMap<u64, Vec<u8>>, out: &mut BTreeMap<Vec<u8>, String>) {
        // overlayfs lists whiteouts in directories that one layer alone has, but there is nothing behind them.
        let Ok(meta) = std::fs::symlink_metadata(path) else { return };
        let first = match meta.is_dir() {
            true => name.clone(),
            false => inodes.entry(meta.ino()).or_insert_with(|| name.clone()).clone(),
        };
        let content = match meta.is_file() {
            true => format!("{:?}", dhow_types::Digest::of(&std::fs::read(path).unwrap())),
            false => format!("{:?}", std::fs::read_link(path).ok()),
        };
        let mut names = vec![0; 65536];
        let n = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap();
        let mut names: Vec<&[u8]> = names[..n].split(|b| *b == 0).filter(|n| !n.is_empty()).collect();
        // The store's own mark on directories with whiteouts.
        names.retain(|n| *n != b"trusted.overlay.origin");
        names.sort_unstable();
        let value = |k: &[u8]| {
            let mut v = vec![0; 65536];
            let n = rustix::fs::lgetxattr(path, k, v.as_mut_slice()).unwrap();
            (String::from_utf8_lossy(k).into_owned(), v[..n].to_vec())
        };
        let xattrs: Vec<_> = names.into_iter().map(value).collect();
        let size = if meta.is_dir() { 0 } else { meta.size() };
        let (mode, owner, time) = (meta.mode(), (meta.uid(), meta.gid()), (meta.mtime(), meta.mtime_nsec()));
        let text = format!("{mode:o} {owner:?} {time:?} {size} {} {first:?} {content} {xattrs:?}", meta.rdev());
        // What else a whiteout has means nothing.
        let whiteout = meta.mode() & 0o170000 == 0o020000 && meta.rdev() == 0;
        out.insert(name.clone(), if whiteout { "whiteout".to_owned() } else { text });
        if meta.is_dir() {
            let mut children: Vec<_> = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect();
            children.sort();
            for child in children {
                of(&path.join(&child), join(&name, child.as_bytes()), inodes, out);
            }
        }
    }
    let mut out = BTreeMap::new();
    of(root, Vec::new(), &mut BTreeMap::new(), &mut out);
    out
}

fn applied(tar: &[u8], at: &Path) -> std::path::PathBuf {
    std::fs::create_dir(at).unwrap();
    apply(tar, at, &Limits::default()).unwrap();
    Workplace::new(at).tree
}

fn xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// A step in making a layer.
#[derive(Clone, Debug)]
enum Make {
    File(String, Vec<u8>, u32),
    Dir(String, bool),
    Link(String, String),
    Hard(String, String),
    Whiteout(String),
    Fifo(String),
    Device(String, u32),
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[abc]", 1..4).prop_map(|p| p.join("/"))
}

fn make() -> impl Strategy<Value = Make> {
    let data = || prop::collection::vec(any::<u8>(), 0..1500);
    prop_oneof![
        4 => (path(), data(), 0u32..0o10000).prop_map(|(p, d, m)| Make::File(p, d, m)),
        4 => (path(), any::<bool>()).prop_map(|(p, o)| Make::Dir(p, o)),
        1 => (path(), path()).prop_map(|(p, t)| Make::Link(p, t)),
        2 => (path(), path()).prop_map(|(p, t)| Make::Hard(p, t)),
        2 => path().prop_map(Make::Whiteout),
        1 => path().prop_map(Make::Fifo),
        1 => (path(), 1u32..300).prop_map(|(p, d)| Make::Device(p, d)),
    ]
}

/// Does what can be done of the steps; what is in the way of what differs from one list of steps to the next.
fn made(root: &Path, steps: &[Make]) {
    std::fs::create_dir(root).unwrap();
    for (i, step) in steps.iter().enumerate() {
        let node = |p: &String, kind, dev| {
            let _ = rustix::fs::mknodat(CWD, root.join(p), kind, Mode::RUSR, dev);
        };
        match step {
            Make::File(p, data, mode) => {
                let path = root.join(p);
                if path.symlink_metadata().is_err() && std::fs::write(&path, data).is_ok() {
                    xattr(&path, "user.step", i.to_string().as_bytes());
                    std::os::unix::fs::chown(&path, Some(i as u32), Some(1 << 22)).unwrap();
                    rustix::fs::chmod(&path, Mode::from_raw_mode(*mode)).unwrap();
                }
            }
            Make::Dir(p, opaque) => {
                let path = root.join(p);
                if std::fs::create_dir(&path).is_ok() && *opaque {
                    xattr(&path, "trusted.overlay.opaque", b"y");
                }
            }
            Make::Link(p, target) => drop(symlink(target, root.join(p))),
            Make::Hard(p, target) => drop(std::fs::hard_link(root.join(target), root.join(p))),
            Make::Whiteout(p) => node(p, FileType::CharacterDevice, 0),
            Make::Fifo(p) => node(p, FileType::Fifo, 0),
            Make::Device(p, dev) => node(p, FileType::CharacterDevice, rustix::fs::makedev(5, *dev)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_applied_comes_out_and_in_again_the_same(steps in prop::collection::vec(make(), 0..30)) {
        let dir = tempfile::tempdir().unwrap();
        let upper = dir.path().join("upper");
        made(&upper, &steps);
        let first = layer(&upper);
        let tree = applied(&first, &dir.path().join("1"));
        let second = layer(&tree);
        let again = applied(&second, &dir.path().join("2"));
        prop_assert_eq!(seen(&tree), seen(&again));
        prop_assert!(second == layer(&again), "the same tree gives different bytes");
        prop_assert_eq!(seen(&upper), seen(&tree));
    }

    /// What an export shows is what overlayfs shows.
    #[test]
    fn an_export_is_what_overlayfs_shows(
        steps in prop::collection::vec(prop::collection::vec(make(), 0..20), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut layers = Vec::new();
        for (i, steps) in steps.iter().enumerate() {
            let at = dir.path().join(format!("layer{i}"));
            made(&at, steps);
            layers.insert(0, at);
        }
        let empty = dir.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let merged = dir.path().join("merged");
        std::fs::create_dir(&merged).unwrap();
        let names: Vec<_> = layers.iter().chain([&empty]).map(|l| l.to_str().unwrap().to_owned()).collect();
        let run = std::process::Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &format!("lowerdir={}", names.join(":"))])
            .arg(&merged)
            .output()
            .unwrap();
        prop_assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let want = seen(&merged);
        let run = std::process::Command::new("umount").arg(&merged).output().unwrap();
        prop_assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let refs: Vec<&Path> = layers.iter().map(|l| l.as_path()).collect();
        let mut got = seen(&applied(&exported(&refs), &dir.path().join("out")));
        // The root is not in it.
        got.insert(Vec::new(), want[&Vec::new()].clone());
        prop_assert_eq!(got, want);
    }
}

#[test]
fn odd_things_do_not_stop_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let _socket = std::os::unix::net::UnixListener::bind(at.join("socket")).unwrap();
    rustix::fs::mknodat(CWD, at.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    // The console of no machine: opening it would fail.
    rustix::fs::mknodat(CWD, at.join("device"), FileType::BlockDevice, Mode::RUSR, rustix::fs::makedev(240, 7))
        .unwrap();
    std::fs::File::create(at.join("holes")).unwrap().set_len(3 << 20).unwrap();
    for tar in [layer(at), exported(&[at])] {
        let mut reader = crate::tar::Reader::new(tar.as_slice(), 1 << 20);
        let mut met = Vec::new();
        while let Some(entry) = reader.next(&mut crate::tar::Nowhere).unwrap() {
            met.push((String::from_utf8(entry.name).unwrap(), entry.kind, entry.size));
        }
        met.retain(|m| m.0 != "./");
        let want = [("device", Kind::Block, 0), ("fifo", Kind::Fifo, 0), ("holes", Kind::File, 3 << 20)];
        assert_eq!(met, want.map(|(n, k, s)| (n.to_owned(), k, s)));
    }
}

#[test]
fn a_name_that_would_mean_a_deletion_is_refused_in_a_layer_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".wh.x"), "").unwrap();
    let error = layer_tar(dir.path(), &mut Vec::new()).unwrap_err();
    assert!(error.text().contains(".wh.x can't be in an image"), "{error}");
    let flat = exported(&[dir.path()]);
    let entry = crate::tar::Reader::new(flat.as_slice(), 1 << 20).next(&mut crate::tar::Nowhere).unwrap().unwrap();
    assert_eq!(entry.name, b".wh.x");
}

/// Gives a file another size once the first bytes are written.
struct Shrinks<'a>(&'a Path, u64, Vec<u8>);

impl Write for Shrinks<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::fs::OpenOptions::new().write(true).open(self.0)?.set_len(self.1)?;
        self.2.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_changes_its_size_meanwhile_keeps_the_announced_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("tree");
    std::fs::create_dir(&at).unwrap();
    let file = at.join("f");
    for size in [100, 9 << 20] {
        std::fs::write(&file, vec![7; 3 << 20]).unwrap();
        let mut out = Shrinks(&file, size, Vec::new());
        View::open(&[&at]).unwrap().export(&mut out).unwrap();
        let tree = applied(&out.2, &dir.path().join(size.to_string()));
        assert_eq!(std::fs::metadata(tree.join("f")).unwrap().len(), 3 << 20);
    }
}

#[test]
fn a_writer_that_fails_ends_it() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(28))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(layer_tar(dir.path(), &mut Full).is_err());
    assert!(View::open(&[dir.path()]).unwrap().export(&mut Full).is_err());
}
