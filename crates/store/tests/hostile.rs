//! Tricks that archives were seen to play: refused with a word about why, or confined to the layer's own tree.
//! Whatever is accepted must come back from its recipe byte for byte. The rows are [`dhow_corpus::rows`]; each goes
//! through every road into a store.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_corpus::{Want, rows};
use dhow_types::{Digest, Result};
use support::{Fixture, Packing, Tar, docker_of, layout_of, list, outline};

/// A road by which the tar of a layer comes into a store; it gives the image's id.
type Road = (&'static str, fn(&Fixture, &[u8]) -> Result<Digest>);

/// All of them: a new one is one line here, and every row runs through it.
const ROADS: &[Road] = &[
    ("docker archive", |f, layer| one(f, docker_of(layer, Packing::Plain, Some("x")))),
    ("docker archive, gzip outside", |f, layer| one(f, Packing::Gzip.pack(&docker_of(layer, Packing::Plain, None)))),
    ("OCI layout, gzip", |f, layer| one(f, layout_of(layer, Packing::Gzip, Some("x:1")))),
    ("OCI layout, zstd", |f, layer| one(f, layout_of(layer, Packing::Zstd, None))),
    ("import", |f, layer| import(f, layer.to_vec())),
    ("import, gzip", |f, layer| import(f, Packing::Gzip.pack(layer))),
];

fn one(f: &Fixture, archive: Vec<u8>) -> Result<Digest> {
    Ok(f.load(archive)?[0].id)
}

fn import(f: &Fixture, archive: Vec<u8>) -> Result<Digest> {
    Ok(f.store().import(std::io::Cursor::new(archive), dhow_store::NewDocument::default())?.id)
}

fn every_row_through((road, bring): Road) {
    for row in rows() {
        let name = format!("{road}: {}", row.name);
        let f = Fixture::new();
        match (&row.want, bring(&f, &row.layer)) {
            (Want::Refused(word, twin), Err(e)) => {
                assert!(e.text().contains(word), "{name}: {e}");
                assert!(f.store().images().unwrap().is_empty(), "{name}");
                f.store().wait_for_trash();
                for dir in ["layers", "recipes", "blobs/sha256"] {
                    assert!(list(&f.root().join(dir)).is_empty(), "{name}: something is left in {dir}");
                }
                bring(&f, twin).unwrap_or_else(|e| panic!("{name}: its lawful twin is refused: {e}"));
                assert!(f.rebuilt(&Digest::of(twin)) == *twin, "{name}: the twin's recipe gives other bytes");
            }
            (Want::Tree(want), Ok(id)) => {
                assert_eq!(outline(&f.tree(&id)), *want, "{name}");
                assert!(f.rebuilt(&Digest::of(&row.layer)) == row.layer, "{name}: the recipe gives other bytes");
                assert_eq!(f.store().verify().unwrap(), Vec::<String>::new(), "{name}");
            }
            (Want::Refused(word, _), Ok(id)) => {
                panic!("{name}: accepted ({} paths), want {word:?}", outline(&f.tree(&id)).len())
            }
            (Want::Tree(_), Err(e)) => panic!("{name}: {e}"),
        }
        f.assert_clean();
    }
}

#[test]
fn every_trick_through_a_docker_archive() {
    every_row_through(ROADS[0]);
}

#[test]
fn every_trick_through_the_other_roads() {
    ROADS[1..].iter().for_each(|road| every_row_through(*road));
}

/// Archives as a whole: manifests, indexes, configurations and the names in them.
#[test]
fn every_trick_of_documents() {
    for row in dhow_corpus::documents::rows() {
        let f = Fixture::new();
        let e = match f.load(row.archive) {
            Err(e) => e,
            Ok(loaded) => panic!("{}: accepted as {loaded:?}, want {:?}", row.name, row.word),
        };
        assert!(e.text().contains(row.word), "{}: {e}", row.name);
        assert!(f.store().images().unwrap().is_empty(), "{}", row.name);
        f.load(row.twin).unwrap_or_else(|e| panic!("{}: its lawful twin is refused: {e}", row.name));
        assert_eq!(f.store().verify().unwrap(), Vec::<String>::new(), "{}", row.name);
        f.assert_clean();
    }
}

/// A layer cannot reach through a link of the layer below: it gets a directory of its own, which hides the link.
#[test]
fn a_link_in_a_lower_layer_is_not_followed() {
    let f = Fixture::new();
    let below = Tar::new().symlink("l", "/../../..").symlink("h", "/etc/passwd").end();
    let above = Tar::new().file("l/canary", b"1").file("h", b"2").file(".wh.x", b"").end();
    let id = f.image("x", &[below, above]).unwrap();
    let dirs = f.store().layer_dirs(&id).unwrap();
    assert_eq!(outline(&dirs[0]), ["h = 2", "l/", "l/canary = 1", "x !"]);
    assert_eq!(outline(&dirs[1]), ["h -> /etc/passwd", "l -> /../../.."]);
    f.assert_clean();
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

/// Which attributes an archive may set, and which belong to the host or to overlayfs.
#[test]
fn attributes_that_stay_and_attributes_that_go() {
    // cap_net_raw=ep for user namespaces whose root is uid 1000.
    let rooted = [&[1, 0, 0, 3, 0, 0x20][..], &[0; 14], &1000u32.to_le_bytes()].concat();
    let names: [(&str, &[u8], bool); 9] = [
        ("user.mine", b"1", true),
        ("trusted.mine", b"2", true),
        ("security.capability", &rooted, true),
        ("security.selinux", b"system_u:object_r:bin_t:s0\0", false),
        ("security.ima", b"\x03", false),
        ("security.evm", b"\x03", false),
        ("security.apparmor", b"x", false),
        ("trusted.overlay.redirect", b"/etc", false),
        ("user.overlay.metacopy", b"", false),
    ];
    let records: Vec<(String, &[u8])> = names.iter().map(|(n, v, _)| (format!("SCHILY.xattr.{n}"), *v)).collect();
    let records: Vec<(&str, &[u8])> = records.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    let f = Fixture::new();
    let id = f.image("x", &[Tar::new().pax(&records).file("f", b"1").end()]).unwrap();
    let path = f.tree(&id).join("f");
    for (name, value, stays) in names {
        let mut buffer = [0u8; 256];
        let got = rustix::fs::lgetxattr(&path, name, &mut buffer).ok().map(|n| &buffer[..n]);
        assert_eq!(got, stays.then_some(value), "{name}");
    }
}

/// Owners are the numbers of the archive; names of users mean nothing, and bits of the mode are kept.
#[test]
fn owners_and_modes_are_the_archives_own() {
    use dhow_corpus::Head;
    use std::os::unix::fs::MetadataExt as _;
    let mut head =
        Head { uid: b"0001750\0".to_vec(), gid: b"0001751\0".to_vec(), mode: 0o6755, ..Head::new(b'0', "f") };
    let mut block = head.block();
    block[265..269].copy_from_slice(b"root");
    block[297..301].copy_from_slice(b"root");
    dhow_corpus::seal(&mut block);
    head.name = b"g".to_vec();
    let layer = Tar::new().raw(&block).pax(&[("uid", b"4294967294"), ("gid", b"2147483648")]).head(head).end();
    let f = Fixture::new();
    let tree = f.tree(&f.image("x", &[layer]).unwrap());
    let look = |name: &str| {
        let m = std::fs::metadata(tree.join(name)).unwrap();
        (m.uid(), m.gid(), m.mode() & 0o7777)
    };
    assert_eq!(look("f"), (1000, 1001, 0o6755));
    assert_eq!(look("g"), (4_294_967_294, 2_147_483_648, 0o6755));
}
