//! Images made here: of a tar, and of a container's writable layer.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_store::{Limits, NewDocument, StoreConfig};
use dhow_types::image::{History, RunConfig};
use dhow_types::{Digest, ErrorKind, ImageConfig};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use std::io::{Cursor, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use support::{Fixture, Head, Tar, describe};

fn document(name: Option<&str>) -> NewDocument {
    NewDocument {
        config: ImageConfig {
            created: Some("2026-01-02T03:04:05Z".into()),
            architecture: "amd64".into(),
            os: "linux".into(),
            config: RunConfig { cmd: vec!["sh".into()], ..RunConfig::default() },
            ..ImageConfig::default()
        },
        step: History { comment: "Imported from -".into(), ..History::default() },
        reference: name.map(|n| n.parse().unwrap()),
    }
}

fn root_fs() -> Vec<u8> {
    Tar::new().dir("etc").file("etc/a", &vec![b'x'; 700_000]).symlink("etc/l", "a").hardlink("etc/h", "etc/a").end()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

#[test]
fn a_tar_becomes_an_image_in_every_wrapping() {
    let tar = root_fs();
    let mut trees = Vec::new();
    for bytes in [tar.clone(), gzip(&tar), zstd::encode_all(&tar[..], 1).unwrap()] {
        let mut f = Fixture::new();
        let made = f.store().import(Cursor::new(bytes), document(Some("box:v1"))).unwrap();
        let image = f.store().resolve("box:v1").unwrap();
        assert_eq!((image.id, image.parent), (made.id, None));
        assert_eq!(image.image.layers, [Digest::of(&tar)]);
        let config = &image.image.config;
        assert_eq!((config.history[0].comment.as_str(), config.history[0].empty_layer), ("Imported from -", false));
        assert_eq!(f.rebuilt(&Digest::of(&tar)), tar);
        trees.push(describe(&f.tree(&made.id)));
        f.assert_clean();
        f.reopen();
        assert_eq!(f.store().verify().unwrap(), Vec::<String>::new());
        assert_eq!(f.store().resolve("box:v1").unwrap().id, made.id);
    }
    assert!(trees.iter().all(|t| *t == trees[0]) && trees[0].len() == 4, "{trees:?}");
}

#[test]
fn the_name_moves_and_one_is_not_needed() {
    let f = Fixture::new();
    let first = f.store().import(Cursor::new(root_fs()), document(Some("box:v1"))).unwrap().id;
    let other = Tar::new().file("b", b"b").end();
    let second = f.store().import(Cursor::new(other), document(Some("box:v1"))).unwrap().id;
    assert_eq!(f.store().resolve("box:v1").unwrap().id, second);
    assert!(f.store().resolve(&first.to_string()).unwrap().references.is_empty());
    let third = f.store().import(Cursor::new(Tar::new().file("c", b"c").end()), document(None)).unwrap().id;
    assert!(f.store().resolve(&third.to_string()).unwrap().references.is_empty());
}

/// An input that breaks off.
struct Breaks(Cursor<Vec<u8>>);

impl Read for Breaks {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(std::io::Error::other("the client left")),
            n => Ok(n),
        }
    }
}

#[test]
fn what_is_no_archive_or_breaks_off_leaves_nothing() {
    let limits = Limits { layer_bytes: 100_000, entries: 50, ..Limits::default() };
    let f = Fixture::with(StoreConfig { limits, ..StoreConfig::default() });
    let small = Tar::new().file("a", &[7; 90_000]).end();
    let many = (0..60).fold(Tar::new(), |t, i| t.dir(format!("d{i}"))).end();
    let device = Tar::new().node(b'3', "dev", (1 << 30, 3)).end();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "empty"),
        ("garbage", vec![b'x'; 2000], "no tar archive"),
        ("bzip2", b"BZh9xxxxxxxx".to_vec(), "bzip2 -d"),
        ("xz", b"\xfd7zXZ\0xxxxxxx".to_vec(), "xz -d"),
        ("cut", small[..50_000].to_vec(), "cut short"),
        ("cut gzip", gzip(&small)[..60].to_vec(), ""),
        ("a zip bomb", gzip(&Tar::new().file("a", &[0; 200_000]).end()), ""),
        ("too large", Tar::new().file("a", &[0; 200_000]).end(), ""),
        ("too many", many, "50"),
        ("climbs", Tar::new().file("../../canary", b"bad").end(), ""),
        ("through a link", Tar::new().symlink("l", "/").file("l/../../canary", b"bad").end(), ""),
        ("a link to outside", Tar::new().hardlink("h", "../../canary").end(), ""),
        ("a whiteout of above", Tar::new().file(".wh...", b"").end(), ""),
        ("no owner", Tar::new().head(Head { uid: b"-1\0     ".to_vec(), ..Head::new(b'0', "x") }).end(), ""),
        ("a strange device", device, ""),
    ];
    for (what, bytes, text) in cases {
        match f.store().import(Cursor::new(bytes), document(Some("bad:v1"))) {
            Err(error) => assert!(error.text().contains(text), "{what}: {error}"),
            // Confined is as good as refused; the canary is looked at below.
            Ok(made) => {
                assert!(text.is_empty() && f.store().remove(&made.id.to_string(), true, &|_| None).is_ok(), "{what}")
            }
        }
        f.assert_clean();
    }
    let error = f.store().import(Breaks(Cursor::new(small)), document(None)).unwrap_err();
    assert!(error.text().contains("the client left"), "{error}");
    assert!(f.store().images().unwrap().is_empty());
    f.assert_clean();
}

#[test]
fn hostile_values_of_a_configuration_are_data() {
    let f = Fixture::new();
    let mut hostile = document(Some("box:v1"));
    hostile.config.config.user = "4294967295:../../etc".into();
    hostile.config.config.env = vec!["x".repeat(100_000), "=".into(), "A=\n".into()];
    hostile.config.config.working_dir = "/../..\0".into();
    hostile.config.config.labels = [("containerd.io/restart.loguri".into(), "binary:///bin/sh".into())].into();
    let made = f.store().import(Cursor::new(root_fs()), hostile.clone()).unwrap();
    assert_eq!(f.store().image(&made.id).unwrap().config.config, hostile.config.config);
    hostile.config.config.env = vec!["x".repeat(5 << 20)];
    let error = f.store().import(Cursor::new(root_fs()), hostile).unwrap_err();
    assert!(error.text().contains("the limit is"), "{error}");
    f.assert_clean();
}

/// A writable layer as overlayfs leaves it.
fn upper(dir: &Path) {
    std::fs::create_dir_all(dir.join("etc/new")).unwrap();
    std::fs::create_dir(dir.join("replaced")).unwrap();
    setxattr(dir.join("replaced"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    std::fs::write(dir.join("etc/new/file"), vec![b'n'; 3 << 20]).unwrap();
    std::fs::set_permissions(dir.join("etc/new/file"), std::fs::Permissions::from_mode(0o4711)).unwrap();
    mknodat(CWD, dir.join("etc/a"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    std::os::unix::fs::symlink("../x", dir.join("etc/link")).unwrap();
}

#[test]
fn a_writable_layer_becomes_an_image_on_its_parent() {
    let mut f = Fixture::new();
    let parent = f.image("base:v1", &[root_fs()]).unwrap();
    let upper_dir = f.dir.path().join("root/containers/c/upper");
    std::fs::create_dir_all(&upper_dir).unwrap();
    upper(&upper_dir);
    let made = f.store().commit(&parent, &upper_dir, document(Some("box:v1")), || ()).unwrap();
    let image = f.store().resolve("box:v1").unwrap();
    assert_eq!((image.id, image.parent, image.image.layers.len()), (made.id, Some(parent), 2));
    assert_eq!(image.image.layers[0], Digest::of(&root_fs()));
    let tree = describe(&f.tree(&made.id));
    assert_eq!(
        tree.iter().map(|l| l.split(' ').next().unwrap()).collect::<Vec<_>>(),
        ["etc", "etc/a", "etc/link", "etc/new", "etc/new/file", "replaced"]
    );
    assert!(tree[1].contains("dev 0"), "the deletion: {}", tree[1]);
    assert!(tree[4].contains(" 104711 "), "{}", tree[4]);
    assert!(tree[5].contains("trusted.overlay.opaque=\"y\""), "{}", tree[5]);
    f.assert_clean();

    // The parent may go; the layers stay as long as the new image needs them.
    f.store().remove("base:v1", false, &|_| None).unwrap();
    f.reopen();
    assert_eq!(f.store().verify().unwrap(), Vec::<String>::new());
    assert_eq!(f.store().layer_dirs(&made.id).unwrap().len(), 2);
    // And what was committed can be saved and loaded again.
    let mut archive = Vec::new();
    let save = f.store().prepare_save(&["box:v1".to_owned()], None).unwrap();
    save.write(&mut |piece| {
        archive.extend_from_slice(piece.as_ref());
        Ok(())
    })
    .unwrap();
    assert_eq!(Fixture::new().load(archive).unwrap()[0].id, made.id);
}

#[test]
fn an_unchanged_container_adds_a_step_and_no_layer() {
    let f = Fixture::new();
    let parent = f.image("base:v1", &[root_fs()]).unwrap();
    let upper = f.dir.path().join("root/containers/upper");
    std::fs::create_dir(&upper).unwrap();
    let mode = std::fs::metadata(f.tree(&parent)).unwrap().permissions();
    std::fs::set_permissions(&upper, mode).unwrap();
    let made = f.store().commit(&parent, &upper, document(None), || ()).unwrap();
    let image = f.store().image(&made.id).unwrap();
    assert_eq!(image.layers, [Digest::of(&root_fs())]);
    assert!(image.config.history.last().unwrap().empty_layer);
    // Its root alone is a change, too.
    std::fs::set_permissions(&upper, std::fs::Permissions::from_mode(0o700)).unwrap();
    let made = f.store().commit(&parent, &upper, document(None), || ()).unwrap();
    assert_eq!(f.store().image(&made.id).unwrap().layers.len(), 2);
    assert_eq!(std::fs::metadata(f.tree(&made.id)).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn a_commit_that_fails_leaves_nothing() {
    let f = Fixture::new();
    let parent = f.image("base:v1", &[root_fs()]).unwrap();
    let before = f.store().images().unwrap();
    let upper = f.dir.path().join("root/containers/upper");
    std::fs::create_dir(&upper).unwrap();
    std::fs::write(upper.join("file"), "x").unwrap();
    let gone = f.dir.path().join("root/containers/gone");
    let error = f.store().commit(&parent, &gone, document(Some("box:v1")), || ()).unwrap_err();
    assert!(error.text().contains("gone"), "{error}");
    let error = f.store().commit(&Digest::of(b"no"), &upper, document(None), || ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    std::fs::write(upper.join(".wh.file"), "x").unwrap();
    let error = f.store().commit(&parent, &upper, document(Some("box:v1")), || ()).unwrap_err();
    assert!(error.text().contains(".wh."), "{error}");
    assert_eq!(f.store().images().unwrap(), before);
    f.assert_clean();
}
