//! Tricks that archives were seen to play, one row each: refused with a word about why, or confined to
//! the layer's own tree. Whatever is accepted must come back from its recipe byte for byte.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_store::{Limits, StoreConfig};
use dhow_types::Digest;
use support::{Fixture, Head, Tar, list, record, seal};

/// What must become of an archive.
enum Want {
    /// An error whose text has this in it.
    Refused(&'static str),
    /// These paths and file contents, no others. A path that ends with `/` is a directory, `-> x` a link, `!` a whiteout.
    Tree(&'static [&'static str]),
}
use Want::{Refused, Tree};

fn outline(root: &std::path::Path) -> Vec<String> {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    fn walk(dir: &std::path::Path, at: &str, out: &mut Vec<String>) {
        let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let path = dir.join(&name);
            let name = name.to_string_lossy();
            let m = std::fs::symlink_metadata(&path).unwrap();
            let t = m.file_type();
            if t.is_dir() {
                let mut buffer = [0u8; 8];
                let opaque = rustix::fs::lgetxattr(&path, "trusted.overlay.opaque", &mut buffer).is_ok();
                out.push(format!("{at}{name}/{}", if opaque { " opaque" } else { "" }));
                walk(&path, &format!("{at}{name}/"), out);
            } else if t.is_symlink() {
                out.push(format!("{at}{name} -> {}", std::fs::read_link(&path).unwrap().display()));
            } else if t.is_char_device() && m.rdev() == 0 {
                out.push(format!("{at}{name} !"));
            } else if t.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                let text = if bytes.len() > 40 {
                    format!("[{}]", bytes.len())
                } else {
                    String::from_utf8_lossy(&bytes).into()
                };
                out.push(format!("{at}{name} = {text}"));
            } else {
                out.push(format!("{at}{name} node {:o} {:x}", m.mode(), m.rdev()));
            }
        }
    }
    let mut out = Vec::new();
    walk(root, "", &mut out);
    out
}

fn owner(uid: &[u8; 8]) -> Vec<u8> {
    Tar::new().head(Head { uid: uid.to_vec(), ..Head::new(b'0', "f") }).end()
}

/// An old GNU sparse file: a map in the header, the data behind.
fn sparse(map: &[(u64, u64)], real: u64, data: &[u8]) -> Vec<u8> {
    let mut b = Head { size: data.len() as u64, gnu: true, ..Head::new(b'S', "s") }.block();
    for (i, (offset, len)) in map.iter().enumerate() {
        b[386 + 24 * i..][..12].copy_from_slice(format!("{offset:011o}\0").as_bytes());
        b[398 + 24 * i..][..12].copy_from_slice(format!("{len:011o}\0").as_bytes());
    }
    if real < 1 << 33 {
        b[483..495].copy_from_slice(format!("{real:011o}\0").as_bytes());
    } else {
        b[483] = 0x80;
        b[487..495].copy_from_slice(&real.to_be_bytes());
    }
    seal(&mut b);
    Tar::new().raw(&b).data(data).end()
}

fn nested(depth: usize) -> Vec<u8> {
    Tar::new().pax(&[("path", "d/".repeat(depth).as_bytes())]).dir("x").end()
}

fn corpus() -> Vec<(&'static str, Vec<u8>, Want)> {
    let t = Tar::new;
    let long = "n".repeat(256);
    let path = "p/".repeat(2100);
    vec![
        // names
        ("dotdot", t().file("../x", b"1").end(), Refused("leads out of the tree")),
        ("dotdot after dot", t().file("./../x", b"1").end(), Refused("leads out of the tree")),
        ("dotdot deeper", t().file("a/../../x", b"1").end(), Refused("leads out of the tree")),
        ("dotdot inside", t().file("a/../x", b"1").end(), Tree(&["x = 1"])),
        ("absolute", t().file("/etc/x", b"1").end(), Tree(&["etc/", "etc/x = 1"])),
        ("absolute dotdot", t().file("/../../x", b"1").end(), Tree(&["x = 1"])),
        ("trailing dot", t().dir("a/.").file("a/./b", b"1").end(), Tree(&["a/", "a/b = 1"])),
        ("backslash", t().file("a\\..\\b", b"1").end(), Tree(&["a\\..\\b = 1"])),
        ("not UTF-8", t().file(b"\xff\xfe", b"1").end(), Tree(&["\u{fffd}\u{fffd} = 1"])),
        ("NUL in pax path", t().pax(&[("path", b"a\0b")]).file("x", b"").end(), Refused("malformed")),
        ("long component", t().pax(&[("path", long.as_bytes())]).file("x", b"").end(), Refused("component of 256")),
        ("beyond PATH_MAX", t().pax(&[("path", path.as_bytes())]).file("x", b"").end(), Refused("more than 4095")),
        ("empty name", t().file("", b"1").end(), Refused("root of a layer must be a directory")),
        ("root as link", t().symlink("./", "/etc").end(), Refused("root of a layer must be a directory")),
        ("dotdot in long name", t().long(b'L', b"../x").file("y", b"").end(), Refused("leads out of the tree")),
        ("a name like a whiteout's directory", t().file(".wh", b"1").end(), Tree(&[".wh = 1"])),
        // links
        ("through absolute link", t().symlink("l", "/etc").file("l/x", b"1").end(), Refused("dangling")),
        (
            "through link out",
            t().symlink("l", "../../..").file("l/canary", b"1").end(),
            Tree(&["canary = 1", "l -> ../../.."]),
        ),
        (
            "through link to inside",
            t().dir("d").symlink("l", "/d").file("l/x", b"1").end(),
            Tree(&["d/", "d/x = 1", "l -> /d"]),
        ),
        (
            "through a chain",
            t().dir("d").symlink("a", "b").symlink("b", "/d").file("a/x", b"1").end(),
            Tree(&["a -> b", "b -> /d", "d/", "d/x = 1"]),
        ),
        ("through a loop", t().symlink("a", "b").symlink("b", "a").file("a/x", b"1").end(), Refused("not a directory")),
        ("through /proc", t().symlink("l", "/proc/self/root").file("l/x", b"1").end(), Refused("dangling")),
        ("file over link", t().symlink("l", "/etc/passwd").file("l", b"1").end(), Tree(&["l = 1"])),
        (
            "dir over link",
            t().dir("d").symlink("l", "d").dir("l").file("l/x", b"1").end(),
            Tree(&["d/", "l/", "l/x = 1"]),
        ),
        ("link over dir", t().dir("d").file("d/x", b"1").symlink("d", "e").end(), Tree(&["d -> e"])),
        (
            "link flips to dir and back",
            t().dir("t")
                .symlink("l", "t")
                .file("l/a", b"1")
                .dir("l")
                .file("l/a", b"2")
                .symlink("l", "t")
                .file("l/a", b"3")
                .end(),
            Tree(&["l -> t", "t/", "t/a = 3"]),
        ),
        ("file in the way", t().file("a", b"1").file("a/b", b"2").end(), Refused("not a directory")),
        ("file to dir mid-stream", t().file("a", b"1").dir("a").file("a/b", b"2").end(), Tree(&["a/", "a/b = 2"])),
        ("hard link out", t().hardlink("h", "../../canary").end(), Refused("leads out of the tree")),
        ("hard link absolute out", t().hardlink("h", "/etc/passwd").end(), Refused("no such file before it")),
        (
            "hard link through link out",
            t().symlink("l", "/../..").hardlink("h", "l/canary").end(),
            Refused("no such file before it"),
        ),
        ("hard link forward", t().hardlink("h", "f").file("f", b"1").end(), Refused("no such file before it")),
        (
            "hard link to link",
            t().symlink("l", "/etc/passwd").hardlink("h", "l").end(),
            Tree(&["h -> /etc/passwd", "l -> /etc/passwd"]),
        ),
        (
            "hard link to a link, then written",
            t().symlink("l", "/canary").hardlink("h", "l").file("h", b"1").end(),
            Tree(&["h = 1", "l -> /canary"]),
        ),
        ("hard link to dir", t().dir("d").hardlink("h", "d").end(), Refused("is a directory")),
        ("hard link to root", t().hardlink("h", ".").end(), Refused("it is the root")),
        ("hard link to itself", t().file("f", b"1").hardlink("f", "f").end(), Tree(&["f = 1"])),
        ("hard link to whiteout", t().file(".wh.f", b"").hardlink("h", "f").end(), Refused("was deleted")),
        (
            "hard link to device",
            t().node(b'3', "n", (1, 3)).hardlink("h", "n").end(),
            Tree(&["h node 20644 103", "n node 20644 103"]),
        ),
        (
            "hard link written over",
            t().file("f", b"1").hardlink("h", "f").file("h", b"2").end(),
            Tree(&["f = 1", "h = 2"]),
        ),
        (
            "original written over",
            t().file("f", b"1").hardlink("h", "f").file("f", b"2").end(),
            Tree(&["f = 2", "h = 1"]),
        ),
        (
            "hard link over the dir of its target",
            t().dir("d").file("d/f", b"1").hardlink("d", "d/f").end(),
            Tree(&["d = 1"]),
        ),
        (
            "hard link with a size",
            t().file("f", b"1").head(Head { size: 512, link: b"f".to_vec(), ..Head::new(b'1', "h") }).end(),
            Tree(&["f = 1", "h = 1"]),
        ),
        ("link without target", t().symlink("l", "").end(), Refused("proper target")),
        // nodes
        (
            "device",
            t().node(b'3', "n", (1, 3)).node(b'4', "b", (7, 0)).node(b'6', "p", (0, 0)).end(),
            Tree(&["b node 60644 700", "n node 20644 103", "p node 10644 0"]),
        ),
        ("device 0:0", t().node(b'3', "n", (0, 0)).end(), Tree(&["n !"])),
        (
            "device number too big",
            {
                let mut b = Head::new(b'3', "n").block();
                b[329..337].copy_from_slice(&[0xff; 8]);
                seal(&mut b);
                t().raw(&b).end()
            },
            Refused("device number"),
        ),
        ("socket type", t().head(Head::new(b'Z', "x")).end(), Refused("unknown type 'Z'")),
        ("multi-volume", t().head(Head::new(b'M', "x")).end(), Refused("unknown type 'M'")),
        // whiteouts
        ("whiteout", t().file("d/.wh.x", b"").end(), Tree(&["d/", "d/x !"])),
        ("whiteout with data", t().file(".wh.x", b"secret").end(), Tree(&["x !"])),
        ("whiteout of dotdot", t().file("d/.wh...", b"").end(), Refused("names no file")),
        ("whiteout of dot", t().file(".wh..", b"").end(), Refused("names no file")),
        ("whiteout of nothing", t().file(".wh.", b"").end(), Refused("names no file")),
        (
            "whiteout through link out",
            t().symlink("l", "../../..").file("l/.wh.canary", b"").end(),
            Tree(&["canary !", "l -> ../../.."]),
        ),
        ("whiteout before file", t().file(".wh.x", b"").file("x", b"1").end(), Tree(&["x = 1"])),
        ("whiteout after file", t().file("x", b"1").file(".wh.x", b"").end(), Tree(&["x = 1"])),
        ("whiteout before dir", t().file(".wh.x", b"").dir("x").end(), Tree(&["x/ opaque"])),
        ("whiteout after dir", t().dir("x").file(".wh.x", b"").end(), Tree(&["x/ opaque"])),
        (
            "whiteout before what is in it",
            t().file(".wh.x", b"").file("x/y", b"1").end(),
            Tree(&["x/ opaque", "x/y = 1"]),
        ),
        ("whiteout twice", t().file(".wh.x", b"").file(".wh.x", b"").end(), Tree(&["x !"])),
        ("whiteout of a whiteout", t().file(".wh..wh.x", b"").end(), Tree(&[])),
        ("opaque", t().dir("d").file("d/.wh..wh..opq", b"").file("d/x", b"1").end(), Tree(&["d/ opaque", "d/x = 1"])),
        (
            "opaque last",
            t().dir("d").file("d/x", b"1").file("d/.wh..wh..opq", b"").end(),
            Tree(&["d/ opaque", "d/x = 1"]),
        ),
        ("bookkeeping of AUFS", t().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", b"x").end(), Tree(&[])),
        // attributes
        (
            "overlay attributes",
            t().pax(&[
                ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                ("SCHILY.xattr.user.overlay.opaque", b"y"),
                ("SCHILY.xattr.trusted.overlay.metacopy", b""),
            ])
            .dir("d")
            .end(),
            Tree(&["d/"]),
        ),
        ("attribute without name", t().pax(&[("SCHILY.xattr.", b"x")]).file("f", b"").end(), Refused("malformed")),
        // owners: never 0 by accident
        ("uid -1", owner(b"\xff\xff\xff\xff\xff\xff\xff\xff"), Refused("user id -1")),
        ("uid 2^32-1", owner(b"\x80\0\0\0\xff\xff\xff\xff"), Refused("user id 4294967295")),
        ("uid 2^32", owner(b"\x80\0\0\x01\0\0\0\0"), Refused("user id 4294967296")),
        ("uid as a word", owner(b"root\0\0\0\0"), Refused("malformed")),
        ("pax uid negative", t().pax(&[("uid", b"-5")]).file("f", b"").end(), Refused("user id -5")),
        ("pax gid huge", t().pax(&[("gid", b"99999999999")]).file("f", b"").end(), Refused("group id 99999999999")),
        // sizes and bombs
        (
            "size beyond the end",
            t().head(Head { size: 4096, ..Head::new(b'0', "f") }).data(b"x").0,
            Refused("cut short"),
        ),
        ("size 8 EiB", t().head(Head { size: 1 << 62, ..Head::new(b'0', "f") }).end(), Refused("more than")),
        (
            "negative size",
            {
                let mut b = Head::new(b'0', "f").block();
                b[124..136].fill(0xff);
                seal(&mut b);
                t().raw(&b).end()
            },
            Refused("negative size"),
        ),
        ("pax size lie", t().pax(&[("size", b"99999999999999999999")]).file("f", b"").end(), Refused("malformed")),
        (
            "huge extended header",
            t().head(Head { size: 1 << 40, ..Head::new(b'x', "x") }).end(),
            Refused("extended header of 1099511627776 bytes"),
        ),
        (
            "huge long name",
            t().head(Head { size: 1 << 30, gnu: true, ..Head::new(b'L', "x") }).end(),
            Refused("extended header of"),
        ),
        (
            "10^5 attributes",
            {
                let body: Vec<u8> = (0..2000).flat_map(|i| record(&format!("SCHILY.xattr.user.{i}"), b"")).collect();
                t().head(Head { size: body.len() as u64, ..Head::new(b'x', "x") }).data(&body).file("f", b"").end()
            },
            Refused("more than 1024 extended attributes"),
        ),
        (
            "malformed records",
            t().head(Head { size: 6, ..Head::new(b'x', "x") }).data(b"99 a=b").file("f", b"").end(),
            Refused("malformed"),
        ),
        ("deep directories", nested(1000), Refused("more than 256 deep")),
        (
            "directories as deep as allowed, through links",
            {
                let mut tar = t().pax(&[("path", "d/".repeat(250).as_bytes())]).dir("x");
                tar = tar.pax(&[("linkpath", "d/".repeat(250).as_bytes())]).symlink("l", "x");
                tar.file("l/a/b/c/d/e/f/g/h", b"").end()
            },
            Refused("more than 256 deep"),
        ),
        ("sparse", sparse(&[(0, 3), (1 << 20, 2)], (1 << 20) + 4, b"abcde"), Tree(&["s = [1048580]"])),
        ("sparse 8 EiB", sparse(&[(0, 1)], 1 << 62, b"a"), Refused("more than")),
        ("sparse overlapping", sparse(&[(0, 3), (1, 2)], 10, b"abcde"), Refused("overlap")),
        ("sparse too short", sparse(&[(0, 3)], 10, b"abcde"), Refused("does not fit")),
        (
            "sparse 0.1",
            t().pax(&[("GNU.sparse.size", b"6"), ("GNU.sparse.name", b"real"), ("GNU.sparse.map", b"1,2,4,1")])
                .file("x", b"abc")
                .end(),
            Tree(&["real = \0ab\0c\0"]),
        ),
        (
            "sparse 1.0",
            t().pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"real"),
                ("GNU.sparse.realsize", b"6"),
            ])
            .head(Head { size: 515, ..Head::new(b'0', "x") })
            .data(b"2\n1\n2\n4\n1\n")
            .data(b"abc")
            .end(),
            Tree(&["real = \0ab\0c\0"]),
        ),
        (
            "sparse 1.0 name out",
            t().pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"../x"),
                ("GNU.sparse.realsize", b"0"),
            ])
            .head(Head { size: 512, ..Head::new(b'0', "x") })
            .data(b"0\n")
            .end(),
            Refused("leads out of the tree"),
        ),
        (
            "sparse 1.0 map without end",
            t().pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"6")])
                .head(Head { size: 512, ..Head::new(b'0', "x") })
                .data(&[b"60000\n".to_vec(), b"1\n".repeat(253)].concat())
                .end(),
            Refused("does not fit"),
        ),
        // parsers that differ
        ("duplicates", t().file("f", b"1").file("f", b"22").file("f", b"333").end(), Tree(&["f = 333"])),
        ("case clash", t().file("f", b"1").file("F", b"2").end(), Tree(&["F = 2", "f = 1"])),
        ("dir twice", t().dir("d").file("d/x", b"1").dir("d/").end(), Tree(&["d/", "d/x = 1"])),
        (
            "tree replaced by file",
            t().dir("d").file("d/x", b"1").file("d/y", b"2").file("d", b"3").end(),
            Tree(&["d = 3"]),
        ),
        (
            "tree replaced and made again",
            t().file("d/x", b"1").file("d", b"2").dir("d").file("d/x", b"3").file("d/x", b"4").end(),
            Tree(&["d/", "d/x = 4"]),
        ),
        (
            "global records have no effect",
            t().head(Head { size: 10, ..Head::new(b'g', "g") }).data(b"10 path=z\n").file("f", b"1").end(),
            Tree(&["f = 1"]),
        ),
        ("trailing garbage", [t().file("f", b"1").end(), b"garbage".repeat(1000)].concat(), Tree(&["f = 1"])),
        ("entries after the end", [t().file("f", b"1").end(), t().file("g", b"2").end()].concat(), Tree(&["f = 1"])),
        ("no end", t().file("f", b"1").0, Tree(&["f = 1"])),
        ("one zero block at the end", t().file("f", b"1").raw(&[0; 512]).0, Tree(&["f = 1"])),
        ("lone zero block", t().file("f", b"1").raw(&[0; 512]).file("g", b"2").end(), Refused("single block of zeros")),
        ("wrong checksum", t().file("f", b"1").raw(&[b'x'; 512]).end(), Refused("wrong checksum")),
        ("half a header", t().file("f", b"1").raw(&[1; 100]).0, Refused("cut short")),
        ("old directory by slash", t().head(Head::new(0, "d/")).file("d/x", b"1").end(), Tree(&["d/", "d/x = 1"])),
        (
            "padding that is not zero",
            t().head(Head { size: 1, ..Head::new(b'0', "f") }).raw(&[b'q'; 512]).end(),
            Tree(&["f = q"]),
        ),
    ]
}

#[test]
fn every_trick_is_refused_or_confined() {
    for (name, layer, want) in corpus() {
        let f = Fixture::new();
        let result = f.image("x", std::slice::from_ref(&layer));
        match (want, result) {
            (Refused(word), Err(e)) => {
                assert!(e.text().contains(word), "{name}: {e}");
                assert!(f.store().images().unwrap().is_empty(), "{name}");
                f.store().wait_for_trash();
                for dir in ["layers", "recipes", "blobs/sha256"] {
                    assert!(list(&f.root().join(dir)).is_empty(), "{name}: something is left in {dir}");
                }
            }
            (Tree(want), Ok(id)) => {
                assert_eq!(outline(&f.tree(&id)), want, "{name}");
                assert!(f.rebuilt(&Digest::of(&layer)) == layer, "{name}: the recipe gives other bytes");
                assert_eq!(f.store().verify().unwrap(), Vec::<String>::new(), "{name}");
            }
            (Refused(word), Ok(id)) => {
                panic!("{name}: accepted ({} paths), want {word:?}", outline(&f.tree(&id)).len())
            }
            (Tree(_), Err(e)) => panic!("{name}: {e}"),
        }
        f.assert_clean();
    }
}

#[test]
fn an_opaque_root_hides_the_layers_below() {
    let f = Fixture::new();
    let below = Tar::new().file("a", b"1").end();
    let above = Tar::new().file(".wh..wh..opq", b"").file("b", b"2").end();
    let top = Tar::new().file("c", b"3").end();
    let id = f.image("x", &[below, above, top]).unwrap();
    let dirs = f.store().layer_dirs(&id).unwrap();
    assert_eq!(dirs.len(), 2);
    assert!(dirs[0].join("c").exists() && dirs[1].join("b").exists());
}

#[test]
fn limits_hold_and_leave_nothing() {
    let limits = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        Fixture::with(StoreConfig { limits, ..StoreConfig::default() })
    };
    let many = (0..50).fold(Tar::new(), |t, i| t.file(format!("f{i}"), b"x")).end();
    let dirs = (0..50).fold(Tar::new(), |t, i| t.dir(format!("directory-{i}"))).end();
    let same = (0..50).fold(Tar::new(), |t, _| t.file("f", b"x")).end();
    let big = Tar::new().file("f", &[7; 100_000]).end();
    let garbage = [Tar::new().file("f", b"").end(), vec![1; 100_000]].concat();
    for (f, layer, word) in [
        (limits(|l| l.entries = 49), &many, "more than 49 entries"),
        (limits(|l| l.directory_bytes = 2000), &dirs, "names of directories"),
        (limits(|l| l.displaced = 10), &same, "replace earlier ones"),
        (limits(|l| l.layer_bytes = 99_999), &big, "more than 99999 bytes"),
        (limits(|l| l.layer_bytes = 90_000), &garbage, "more than 90000 bytes"),
        (limits(|l| l.archive_entries = 2), &many, "the archive has more than 2 entries"),
        (limits(|l| l.document_bytes = 300), &many, "bytes of documents"),
    ] {
        let e = f.image("x", std::slice::from_ref(layer)).unwrap_err();
        assert!(e.text().contains(word), "{word}: {e}");
        f.assert_clean();
    }
    limits(|l| l.entries = 50).image("x", &[many]).unwrap();
}

#[test]
fn compressed_bombs_and_damage() {
    use std::io::Write as _;
    let gzip = |bytes: &[u8]| {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        e.write_all(bytes).unwrap();
        e.finish().unwrap()
    };
    let mut config = StoreConfig::default();
    config.limits.layer_bytes = 1 << 20;
    let f = Fixture::with(config);
    // A file of zeros far beyond the limit, and zeros behind the end.
    let inner = Tar::new().file("f", &vec![0; 8 << 20]).end();
    let behind = [Tar::new().file("f", b"1").end(), vec![0; 8 << 20]].concat();
    for tar in [&inner, &behind] {
        for packed in [gzip(tar), zstd::encode_all(tar.as_slice(), 3).unwrap()] {
            assert!(packed.len() < 100_000);
            let archive = support::docker_archive(None, &support::config(std::slice::from_ref(tar)), &[packed]);
            let e = f.load(archive).unwrap_err();
            assert!(e.text().contains("limit") || e.text().contains("more than"), "{e}");
            f.assert_clean();
        }
    }
    let good = Tar::new().file("f", &[9; 5000]).end();
    let config = support::config(std::slice::from_ref(&good));
    let packed = gzip(&good);
    let mut flipped = packed.clone();
    let middle = flipped.len() - 6;
    flipped[middle] ^= 1;
    for (what, bytes) in [
        ("cut", packed[..packed.len() - 9].to_vec()),
        ("flipped", flipped),
        ("garbage behind", [packed.clone(), b"xxxx".to_vec()].concat()),
        ("zstd cut", {
            let z = zstd::encode_all(good.as_slice(), 3).unwrap();
            z[..z.len() - 3].to_vec()
        }),
    ] {
        let e = f.load(support::docker_archive(None, &config, &[bytes])).unwrap_err();
        assert!(e.text().contains("decompress"), "{what}: {e}");
        f.assert_clean();
    }
    // Two members in a row are one stream, with both compressions.
    let (a, b) = good.split_at(600);
    for joined in
        [[gzip(a), gzip(b)].concat(), [zstd::encode_all(a, 3).unwrap(), zstd::encode_all(b, 3).unwrap()].concat()]
    {
        f.load(support::docker_archive(Some("two"), &config, &[joined])).unwrap();
        assert!(f.rebuilt(&Digest::of(&good)) == good);
    }
}
