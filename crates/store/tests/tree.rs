//! The tree a layer becomes: the same as GNU tar makes of ordinary archives, and with everything that
//! images may carry. Archives from GNU tar in all its formats, and random ones.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_types::Digest;
use proptest::prelude::*;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, makedev, mknodat, utimensat,
};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::Path;
use std::process::Command;
use support::{Fixture, Head, Tar, describe};

fn tar(args: &[&str], dir: &Path) {
    let out = Command::new("tar").args(args).current_dir(dir).output().unwrap();
    assert!(out.status.success(), "tar {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A tree with one of everything.
fn fill(dir: &Path, extended: bool) {
    let at = |p: &str| dir.join(p);
    for d in ["a", "a/b", "empty", "shared", "sticky"] {
        std::fs::create_dir(at(d)).unwrap();
    }
    std::fs::write(at("a/file"), "content").unwrap();
    std::fs::write(at("a/none"), "").unwrap();
    std::fs::write(at("a/block"), vec![7; 512]).unwrap();
    std::fs::write(at("a/big"), (0..700_001u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect::<Vec<_>>()).unwrap();
    std::fs::write(at("shared/inner"), "group of its own").unwrap();
    std::fs::hard_link(at("a/file"), at("a/b/second name")).unwrap();
    symlink("../a/file", at("a/b/link")).unwrap();
    symlink("/absolute/nowhere", at("dangling")).unwrap();
    symlink("x".repeat(99), at("long link")).unwrap();
    std::fs::write(at(&format!("a/{}", "n".repeat(99))), "99").unwrap();
    mknodat(CWD, at("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).unwrap();
    mknodat(CWD, at("loop"), FileType::BlockDevice, Mode::from_raw_mode(0o640), makedev(7, 1)).unwrap();
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o622), 0).unwrap();
    lchown(at("a/none"), Some(1000), Some(1001)).unwrap();
    lchown(at("dangling"), Some(12), Some(34)).unwrap();
    lchown(at("shared"), Some(5), Some(50)).unwrap();
    for (path, mode) in
        [("a/file", 0o4755), ("a/none", 0o2711), ("shared", 0o2775), ("sticky", 0o1777), ("a/big", 0), ("empty", 0o500)]
    {
        std::fs::set_permissions(at(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut nanos = 0;
    if extended {
        nanos = 123_456_789;
        let long = format!("a/{}/{}", "p".repeat(200), "q".repeat(200));
        std::fs::create_dir(at(&format!("a/{}", "p".repeat(200)))).unwrap();
        std::fs::write(at(&long), "long").unwrap();
        symlink("y".repeat(300), at("longer link")).unwrap();
        lchown(at("a/b"), Some(3_000_000_000), Some(4_000_000_000)).unwrap();
        std::fs::write(at("grüße \n\t"), "utf-8").unwrap();
        lsetxattr(at("a/file"), "user.note", b"v\0\n", XattrFlags::empty()).unwrap();
        lsetxattr(at("a"), "user.dir", b"", XattrFlags::empty()).unwrap();
        lsetxattr(at("dangling"), "trusted.link", b"t", XattrFlags::empty()).unwrap();
        lsetxattr(at("null"), "trusted.node", b"n", XattrFlags::empty()).unwrap();
        // cap_net_raw=ep, as setcap writes it.
        let mut cap = vec![1, 0, 0, 2, 0, 0x20];
        cap.resize(20, 0);
        lsetxattr(at("a/block"), "security.capability", &cap, XattrFlags::empty()).unwrap();
    }
    let walk = |p: &str| {
        let t = Timespec { tv_sec: 1_000_000_000 + p.len() as i64, tv_nsec: nanos };
        let times = Timestamps { last_access: t, last_modification: t };
        utimensat(CWD, at(p), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    for p in ["a/file", "a/none", "dangling", "null", "pipe", "a/b/link", "a/b", "a", "empty", "shared", "sticky"] {
        walk(p);
    }
}

/// Packs `dir` with `args`, unpacks with GNU tar and as a layer, and compares.
fn compare(dir: &Path, args: &[&str]) {
    let work = tempfile::tempdir().unwrap();
    let archive = work.path().join("x.tar");
    let name = archive.to_str().unwrap();
    let mut all = vec!["--sort=name", "-cf", name];
    all.extend_from_slice(args);
    all.push(".");
    tar(&all, dir);
    let theirs = work.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    tar(&["-xpf", name, "--numeric-owner", "--xattrs", "--xattrs-include=*"], &theirs);
    let bytes = std::fs::read(&archive).unwrap();
    let f = Fixture::new();
    let id = f.image("x", std::slice::from_ref(&bytes)).unwrap_or_else(|e| panic!("{args:?}: {e}"));
    let (ours, theirs_seen) = (describe(&f.tree(&id)), describe(&theirs));
    for (a, b) in ours.iter().zip(&theirs_seen) {
        assert_eq!(a, b, "{args:?}");
    }
    assert_eq!(ours.len(), theirs_seen.len(), "{args:?}");
    let root = |p: &Path| {
        let m = std::fs::metadata(p).unwrap();
        (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec())
    };
    assert_eq!(root(&f.tree(&id)), root(&theirs), "{args:?}");
    assert!(f.rebuilt(&Digest::of(&bytes)) == bytes, "{args:?}: the recipe gives other bytes");
}

#[test]
fn like_gnu_tar_in_every_format() {
    for (format, extended) in [("v7", false), ("ustar", false), ("oldgnu", true), ("gnu", true), ("pax", true)] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), extended);
        if format == "v7" {
            for special in ["null", "loop", "pipe"] {
                std::fs::remove_file(dir.path().join(special)).unwrap();
            }
            std::fs::remove_file(dir.path().join(format!("a/{}", "n".repeat(99)))).unwrap();
        }
        let format_arg = format!("--format={format}");
        let mut args = vec![format_arg.as_str(), "--numeric-owner"];
        if format == "pax" {
            args.extend(["--xattrs", "--xattrs-include=*"]);
        }
        compare(dir.path(), &args);
    }
}

#[test]
fn like_gnu_tar_with_holes() {
    use std::os::unix::fs::FileExt as _;
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("holes")).unwrap();
    for i in 0..40u64 {
        file.write_all_at(&[i as u8 + 1; 5000], i * 100_000 + 8192).unwrap();
    }
    file.set_len(9_000_000).unwrap();
    let empty = std::fs::File::create(dir.path().join("only a hole")).unwrap();
    empty.set_len(1 << 20).unwrap();
    for args in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let mut all = args.to_vec();
        all.push("-S");
        compare(dir.path(), &all);
    }
}

#[test]
fn like_gnu_tar_for_files_of_a_debian_system() {
    compare(Path::new("/etc"), &["--format=pax"]);
    compare(Path::new("/etc"), &["--format=gnu", "-b1"]);
}

#[test]
fn what_directories_hand_down_does_not_reach_what_is_unpacked() {
    // user::rwx user:7:rwx group::r-x mask::rwx other::r-x, as the kernel stores it.
    let mut acl: Vec<u8> = vec![2, 0, 0, 0];
    for (tag, perm, id) in [(1u16, 7u16, u32::MAX), (2, 7, 7), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)] {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let records = [("SCHILY.xattr.system.posix_acl_default", acl.as_slice())];
    let layer = Tar::new()
        .pax(&records)
        .head(Head { mode: 0o2775, gid: b"0000062\0".to_vec(), ..Head::new(b'5', "d") })
        .file("d/f", b"1")
        .dir("d/sub")
        .pax(&records)
        .head(Head { mode: 0o2755, ..Head::new(b'5', "./") })
        .file("top", b"2")
        .end();
    let f = Fixture::new();
    let tree = f.tree(&f.image("x", std::slice::from_ref(&layer)).unwrap());
    let look = |p: &str| {
        let m = std::fs::symlink_metadata(tree.join(p)).unwrap();
        let mut b = [0u8; 256];
        let has = |k: &str, b: &mut [u8]| rustix::fs::lgetxattr(tree.join(p), k, b).is_ok();
        let acls = (has("system.posix_acl_access", &mut b), has("system.posix_acl_default", &mut b));
        (m.mode() & 0o7777, m.gid(), acls)
    };
    assert_eq!(look("d"), (0o2775, 50, (false, true)));
    assert_eq!(look("d/f"), (0o644, 0, (false, false)));
    assert_eq!(look("d/sub"), (0o755, 0, (false, false)));
    assert_eq!(look(""), (0o2755, 0, (false, true)));
    assert_eq!(look("top"), (0o644, 0, (false, false)));
    assert!(f.rebuilt(&Digest::of(&layer)) == layer);
}

#[test]
fn directories_nobody_announced_are_the_same_each_time() {
    let layer = Tar::new().file("a/b/c", b"1").end();
    let seen: Vec<Vec<String>> = (0..2)
        .map(|_| {
            let f = Fixture::new();
            describe(&f.tree(&f.image("x", std::slice::from_ref(&layer)).unwrap()))
        })
        .collect();
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0][0], "a 40755 0:0 t0.0");
}

/// One step of a random archive, over few names, so that they meet often.
#[derive(Clone, Debug)]
enum Step {
    File(String, Vec<u8>),
    Dir(String),
    Symlink(String, String),
    Hardlink(String, String),
    Whiteout(String, String),
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|v| v.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (name(), prop::collection::vec(any::<u8>(), 0..600)).prop_map(|(n, d)| Step::File(n, d)),
        2 => name().prop_map(Step::Dir),
        2 => (name(), prop::sample::select(vec!["a", "/b", "../c", "b/c", ".", "/../../canary"])).prop_map(|(n, t)| Step::Symlink(n, t.into())),
        2 => (name(), name()).prop_map(|(n, t)| Step::Hardlink(n, t)),
        1 => (name(), prop::sample::select(vec!["a", "b", ".wh..opq"])).prop_map(|(d, n)| Step::Whiteout(d, n.into())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    /// Whatever order things come in: refused with nothing left, or the recipe gives the same bytes, nothing
    /// outside is touched, and a second unpacking gives the same tree.
    #[test]
    fn random_archives(steps in prop::collection::vec(step(), 1..24)) {
        let mut tar = Tar::new();
        for s in &steps {
            tar = match s {
                Step::File(n, d) => tar.file(n, d),
                Step::Dir(n) => tar.dir(n),
                Step::Symlink(n, t) => tar.symlink(n, t),
                Step::Hardlink(n, t) => tar.hardlink(n, t),
                Step::Whiteout(d, n) => tar.file(format!("{d}/.wh.{n}"), b""),
            };
        }
        let layer = tar.end();
        let f = Fixture::new();
        if let Ok(id) = f.image("x", std::slice::from_ref(&layer)) {
            prop_assert!(f.rebuilt(&Digest::of(&layer)) == layer);
            let again = Fixture::new();
            let other = again.image("x", std::slice::from_ref(&layer)).unwrap();
            prop_assert_eq!(describe(&f.tree(&id)), describe(&again.tree(&other)));
        }
        f.assert_clean();
    }
}
