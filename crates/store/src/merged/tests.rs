//! The merged view over trees made by hand: what overlayfs would show, and that nothing leads out of the layers.

use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

struct Layers {
    _dir: tempfile::TempDir,
    top: std::path::PathBuf,
    low: std::path::PathBuf,
}

fn layers() -> Layers {
    let dir = tempfile::tempdir().unwrap();
    let (top, low) = (dir.path().join("top"), dir.path().join("low"));
    for d in ["etc", "data/sub", "opq", "mine"] {
        std::fs::create_dir_all(low.join(d)).unwrap();
    }
    for d in ["etc", "opq", "mine"] {
        std::fs::create_dir_all(top.join(d)).unwrap();
    }
    std::fs::write(low.join("etc/passwd"), "low").unwrap();
    std::fs::write(low.join("etc/gone"), "x").unwrap();
    std::fs::write(low.join("opq/hidden"), "x").unwrap();
    std::fs::write(low.join("mine/seen"), "x").unwrap();
    std::fs::write(top.join("etc/group"), "top").unwrap();
    std::fs::write(dir.path().join("outside"), "secret").unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, top.join("etc/gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    let mark = |dir: &str, name: &str| {
        rustix::fs::setxattr(top.join(dir), name, b"y", rustix::fs::XattrFlags::empty()).unwrap();
    };
    mark("opq", "trusted.overlay.opaque");
    // A container may set this one as it likes.
    mark("mine", "user.overlay.opaque");
    Layers { _dir: dir, top, low }
}

/// Every path, and the layer that it is from.
fn walked(view: &View) -> BTreeMap<String, usize> {
    let mut walk = Walk::new(view);
    let mut out = BTreeMap::new();
    while let Some(met) = walk.next().unwrap() {
        let path = crate::names::join(met.dir.place().path(), met.name.as_bytes());
        let layer = match met.node {
            None => continue,
            Some(Node::Dir(place)) => place.layer(),
            Some(Node::Leaf(leaf)) => leaf.layer(),
        };
        out.insert(String::from_utf8(path).unwrap(), layer);
    }
    out
}

#[test]
fn merges_like_overlayfs() {
    let l = layers();
    let root = View::open(&[&l.top, &l.low]).unwrap();
    for (path, want) in [("/etc/passwd", "low"), ("/etc/group", "top"), ("/etc/gone", ""), ("/opq/hidden", "")] {
        assert_eq!(root.read(path).unwrap(), want, "{path}");
    }
    let want = [
        ("data", 1),
        ("data/sub", 1),
        ("etc", 0),
        ("etc/group", 0),
        ("etc/passwd", 1),
        ("mine", 0),
        ("mine/seen", 1),
        ("opq", 0),
    ];
    assert_eq!(walked(&root), want.map(|(p, l)| (p.to_owned(), l)).into());
}

#[test]
fn links_stay_inside() {
    let l = layers();
    let root = View::open(&[&l.top, &l.low]).unwrap();
    symlink("/etc/passwd", l.low.join("data/abs")).unwrap();
    symlink("../../../../../etc/passwd", l.low.join("data/sub/rel")).unwrap();
    symlink("../outside", l.top.join("escape")).unwrap();
    symlink("loop", l.top.join("loop")).unwrap();
    symlink(l.top.parent().unwrap().join("outside"), l.top.join("host")).unwrap();
    assert_eq!(root.read("/data/abs").unwrap(), "low");
    assert_eq!(root.read("/data/sub/rel").unwrap(), "low");
    assert_eq!(root.read("/escape").unwrap(), "");
    assert_eq!(root.read("/host").unwrap(), "");
    assert!(root.read("/loop").is_err());
}

#[test]
fn a_directory_that_became_a_link_is_not_followed() {
    let l = layers();
    let view = View::open(&[&l.top, &l.low]).unwrap();
    let Some(Node::Dir(place)) = view.dir(&view.root()).unwrap().unwrap().child(OsStr::new("data")).unwrap() else {
        panic!("data is a directory")
    };
    assert!(view.dir(&place).unwrap().is_some());
    std::fs::rename(l.low.join("data"), l.low.join("was")).unwrap();
    symlink(l.top.parent().unwrap(), l.low.join("data")).unwrap();
    assert!(view.dir(&place).unwrap().is_none());
}

#[test]
fn odd_files_are_refused_without_reading() {
    let l = layers();
    let root = View::open(&[&l.top, &l.low]).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, l.top.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert!(root.read("/fifo").unwrap_err().text().contains("not a regular file"));
    std::fs::File::create(l.top.join("huge")).unwrap().set_len(1 << 40).unwrap();
    assert!(root.read("/huge").unwrap_err().text().contains("larger than 10 MiB"));
    assert_eq!(root.read("/etc").unwrap(), "");
}

#[test]
fn depth_costs_no_descriptors_and_ends_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let make = |levels: usize| {
        let mut at = rustix::fs::open(dir.path(), DIR, Mode::empty()).unwrap();
        for _ in 0..levels {
            if let Err(e) = rustix::fs::mkdirat(&at, "deep", Mode::RWXU) {
                assert_eq!(e, Errno::EXIST);
            }
            at = rustix::fs::openat(&at, "deep", DIR, Mode::empty()).unwrap();
        }
    };
    make(700);
    let view = View::open(&[dir.path()]).unwrap();
    let mut walk = Walk::new(&view);
    let (mut levels, mut open) = (0, 0);
    while walk.next().unwrap().is_some() {
        levels += 1;
        open = open.max(std::fs::read_dir("/proc/self/fd").unwrap().count());
    }
    assert_eq!(levels, 700);
    // Other tests run beside this one, but not with hundreds of descriptors.
    assert!(open < 300, "{open} descriptors");
    make(900);
    let mut walk = Walk::new(&view);
    let error = loop {
        match walk.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the end was reached"),
            Err(e) => break e,
        }
    };
    assert!(error.text().contains("deeper than"), "{error}");
}

#[test]
fn names_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..20 {
        std::fs::write(dir.path().join(format!("name-{i}")), "").unwrap();
    }
    let view = View::open(&[dir.path()]).unwrap();
    let root = view.dir(&view.root()).unwrap().unwrap();
    let mut budget = 20 * (NAME_COST + 7);
    assert_eq!(root.names(&mut budget).unwrap().len(), 20);
    assert!(root.names(&mut budget).unwrap_err().text().contains("too many names"));
}
