//! Every sort of damage is done by hand, and `check` names it, mends it, or says what a person can do.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_store::{Checked, ContainerRow, Durability, Finding, Outcome, Store, StoreConfig, check_root};
use dhow_types::Digest;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};
use std::fs::Permissions;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use support::{Fixture, Head, Tar, list};

/// A layer with one of everything.
fn layer() -> Vec<u8> {
    Tar::new()
        .dir("d")
        .file("d/a", b"first content")
        .file("d/replaced", b"earlier")
        .file("d/replaced", b"later!")
        .hardlink("d/same", "d/a")
        .symlink("link", "d/a")
        .file("gone/.wh.x", b"")
        .file("opq/.wh..wh..opq", b"")
        .pax(&[("SCHILY.xattr.user.mime", b"text/plain")])
        .file("marked", b"with an attribute")
        .head(Head { mode: 0o4755, ..Head::new(b'0', "setuid") })
        .end()
}

fn twin() -> Vec<u8> {
    Tar::new().file("elsewhere/copy", b"first content").file("other", b"of its own").end()
}

fn damaged(keep_blobs: bool, damage: &dyn Fn(&Fixture, &Path)) -> (Fixture, Digest) {
    let f = Fixture::with(StoreConfig { keep_blobs, ..StoreConfig::default() });
    let id = f.image("one", &[layer()]).unwrap();
    assert_eq!(findings(f.store(), false, false).1, Vec::<Finding>::new());
    damage(&f, &f.tree(&id));
    (f, id)
}

fn findings(store: &Store, repair: bool, in_use: bool) -> (Checked, Vec<Finding>) {
    let mut found = Vec::new();
    let checked = store.check(repair, &|_| in_use, &mut |f| found.push(f)).unwrap();
    (checked, found)
}

fn texts(found: &[Finding], outcome: Outcome) -> Vec<String> {
    found.iter().filter(|f| f.outcome == outcome).map(ToString::to_string).collect()
}

fn layer_name() -> String {
    format!("layer {}", Digest::of(&layer()).short())
}

/// Does damage to the tree of a layer.
type Damage = fn(&Path);

#[test]
fn damage_to_a_tree_is_named_and_mended() {
    let rows: [(Damage, &str); 13] = [
        (|t| std::fs::set_permissions(t.join("d/a"), Permissions::from_mode(0o666)).unwrap(), "d/a has the mode 0666"),
        (|t| std::fs::set_permissions(t.join("setuid"), Permissions::from_mode(0o755)).unwrap(), "setuid has the mode"),
        (|t| std::os::unix::fs::chown(t.join("d"), Some(7), Some(8)).unwrap(), "d belongs to 7:8"),
        (|t| rustix::fs::removexattr(t.join("marked"), "user.mime").unwrap(), "marked lacks the attribute user.mime"),
        (
            |t| rustix::fs::setxattr(t.join("marked"), "user.mime", b"x", XattrFlags::empty()).unwrap(),
            "marked has another value of the attribute user.mime",
        ),
        (
            |t| rustix::fs::removexattr(t.join("opq"), "trusted.overlay.opaque").unwrap(),
            "opq lacks the attribute trusted.overlay.opaque",
        ),
        (|t| std::fs::write(t.join("d/extra"), "x").unwrap(), "d/extra does not belong to the layer"),
        (|t| std::fs::remove_file(t.join("gone/x")).unwrap(), "gone/x is missing"),
        (
            |t| {
                std::fs::remove_file(t.join("gone/x")).unwrap();
                mknodat(CWD, t.join("gone/x"), FileType::CharacterDevice, Mode::empty(), rustix::fs::makedev(1, 3))
                    .unwrap();
            },
            "gone/x is the character device 1:3 and should be a whiteout",
        ),
        (
            |t| {
                std::fs::remove_file(t.join("link")).unwrap();
                std::os::unix::fs::symlink("/etc/shadow", t.join("link")).unwrap();
            },
            "link points to /etc/shadow and should point to d/a",
        ),
        (
            |t| {
                std::fs::remove_file(t.join("d/same")).unwrap();
                std::fs::copy(t.join("d/a"), t.join("d/same")).unwrap();
            },
            "d/same is no longer the same file as its other names",
        ),
        (|t| std::fs::remove_file(t.join("setuid")).unwrap(), "setuid is missing"),
        (
            |t| std::fs::File::open(t.join("d/a")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap(),
            "d/a has the time 1970-01-01T00:00:00Z",
        ),
    ];
    for (damage, want) in rows {
        let (f, id) = damaged(false, &|_, tree| damage(tree));
        let (checked, found) = findings(f.store(), false, false);
        let problems = texts(&found, Outcome::Mendable);
        assert!(problems.iter().any(|p| p.starts_with(&format!("{}: {want}", layer_name()))), "{want}: {problems:?}");
        assert_eq!((checked.wrong, checked.mended), (found.len() as u64, 0), "{want}");

        // Not under a running container.
        let (checked, found) = findings(f.store(), true, true);
        assert!(checked.wrong > 0 && checked.mended == 0, "{want}: {found:?}");
        assert!(found[0].advice.as_deref().unwrap().contains("a running container uses it: stop it"), "{found:?}");

        let (checked, found) = findings(f.store(), true, false);
        assert_eq!((checked.wrong, checked.mended), (0, found.len() as u64), "{want}: {found:?}");
        assert_eq!(findings(f.store(), false, false).1, Vec::new(), "{want}");
        assert_eq!(f.rebuilt(&Digest::of(&layer())), layer());
        assert!(f.tree(&id).join("d/replaced").is_file());
        f.assert_clean();
    }
}

/// Does damage to a store with a layer whose tree is given.
type StoreDamage = fn(&Fixture, &Path);

/// Damage to content or to a recipe.
fn contents() -> [(StoreDamage, &'static str); 7] {
    [
        (
            |_, t| std::fs::File::options().write(true).open(t.join("marked")).unwrap().write_all_at(b"W", 0).unwrap(),
            "file marked has other bytes than it had",
        ),
        (|_, t| std::fs::remove_file(t.join("marked")).unwrap(), "file marked is missing"),
        (
            |_, t| std::fs::File::options().write(true).open(t.join("marked")).unwrap().set_len(3).unwrap(),
            "file marked is shorter than it was",
        ),
        (|f, _| std::fs::remove_file(recipe(f)).unwrap(), "its recipe is missing"),
        (
            |f, _| {
                let mut bytes = std::fs::read(recipe(f)).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x10;
                std::fs::write(recipe(f), bytes).unwrap();
            },
            "",
        ),
        (
            |f, _| {
                let bytes = std::fs::read(recipe(f)).unwrap();
                std::fs::write(recipe(f), &bytes[..bytes.len() - 9]).unwrap();
            },
            "the recipe is damaged",
        ),
        (|_, t| std::fs::remove_dir_all(t).unwrap(), "its directory is missing"),
    ]
}

fn recipe(f: &Fixture) -> PathBuf {
    f.root().join("recipes").join(Digest::of(&layer()).hex())
}

#[test]
fn content_is_mended_from_a_kept_copy() {
    for (damage, want) in contents() {
        let (f, _) = damaged(true, &damage);
        let (_, found) = findings(f.store(), false, false);
        let problems = texts(&found, Outcome::Mendable);
        assert!(problems.iter().any(|p| p.contains(want)), "{want}: {found:?}");
        let (checked, found) = findings(f.store(), true, false);
        assert_eq!((checked.wrong, checked.mended), (0, found.len() as u64), "{want}: {found:?}");
        assert_eq!(findings(f.store(), false, false).1, Vec::new(), "{want}");
        f.assert_clean();
    }
}

#[test]
fn content_without_a_copy_is_named_with_what_to_do() {
    for (damage, want) in contents() {
        let (f, _) = damaged(false, &damage);
        for repair in [false, true] {
            let (checked, found) = findings(f.store(), repair, false);
            assert!(checked.wrong > 0 && checked.mended == 0, "{want}: {found:?}");
            let first = texts(&found, Outcome::Wrong).remove(0);
            assert!(first.contains(want) && first.contains("load it again: one"), "{want}: {first}");
        }
        // What is advised helps.
        f.store().remove("one", true, &|_| None).unwrap();
        f.image("one", &[layer()]).unwrap();
        assert_eq!(findings(f.store(), false, false).1, Vec::new(), "{want}");
        f.assert_clean();
    }
}

#[test]
fn content_comes_back_from_another_layer_that_has_it() {
    let (f, _) = damaged(false, &|f, tree| {
        f.image("two", &[twin()]).unwrap();
        std::fs::write(tree.join("d/a"), "first consent").unwrap();
    });
    let (checked, found) = findings(f.store(), true, false);
    assert_eq!((checked.wrong, checked.mended > 0), (0, true), "{found:?}");
    assert!(found[0].to_string().contains("file d/a has other bytes"), "{found:?}");
    assert_eq!(findings(f.store(), false, false).1, Vec::new());
    assert_eq!(f.rebuilt(&Digest::of(&layer())), layer());
    f.assert_clean();
}

#[test]
fn one_damaged_layer_of_many_is_named_alone() {
    let f = Fixture::new();
    let id = f.image("two", &[layer(), twin()]).unwrap();
    std::fs::write(f.store().layer_dirs(&id).unwrap()[0].join("other"), "Of its own").unwrap();
    let (checked, found) = findings(f.store(), false, false);
    assert_eq!((checked.images, checked.layers, checked.wrong), (1, 2, found.len() as u64));
    assert!(found.iter().all(|f| f.about == format!("layer {}", Digest::of(&twin()).short())), "{found:?}");
}

#[test]
fn rows_that_do_not_fit_are_named_and_mended() {
    for (statement, want) in [
        (
            "INSERT INTO tags (name, tag, image, updated) VALUES ('docker.io/library/lost', 'latest', randomblob(32), 0)",
            "database: 1 tags of images that are gone",
        ),
        ("INSERT INTO digests VALUES ('docker.io/library/x', randomblob(32), randomblob(32))", "names by digest"),
        ("INSERT INTO image_layers SELECT randomblob(32), 0, diff_id FROM layers", "layers of images that are gone"),
        (
            "INSERT INTO layer_blobs (digest, diff_id, size, media_type) VALUES (randomblob(32), randomblob(32), 1, '')",
            "received forms of layers that are gone",
        ),
        ("UPDATE images SET size = size + 1", "image one:latest: its size is not that of its layers"),
        ("UPDATE layers SET tar_size = 1, opaque_root = 1", "its row has wrong sizes"),
        ("UPDATE tags SET name = 'NO/../NAME'", "is no name of an image"),
        (
            "UPDATE image_layers SET position = 3",
            "image one:latest: its list of layers is not that of its configuration",
        ),
        ("DELETE FROM image_layers", "image one:latest: its list of layers is not that of its configuration"),
        ("DELETE FROM layers", "is not in the database"),
    ] {
        let (f, _) = damaged(false, &|f, _| f.store().db().damage(statement).unwrap());
        let (_, found) = findings(f.store(), false, false);
        assert!(texts(&found, Outcome::Mendable).iter().any(|p| p.contains(want)), "{statement}: {found:?}");
        let (checked, found) = findings(f.store(), true, false);
        assert!(checked.wrong == 0 && checked.mended > 0, "{statement}: {found:?}");
        assert_eq!(findings(f.store(), false, false).1, Vec::new(), "{statement}");
        assert_eq!(f.store().images().unwrap().len(), 1, "{statement}");
    }
}

#[test]
fn documents() {
    let damage: fn(&Fixture) = |f| {
        let id = f.store().resolve("one").unwrap().id;
        std::fs::remove_file(f.root().join("blobs/sha256").join(id.hex())).unwrap();
    };
    // The daemon that read it before still has it.
    let (f, id) = damaged(false, &|f, _| damage(f));
    let (_, found) = findings(f.store(), true, false);
    assert!(texts(&found, Outcome::Mended)[0].contains("its configuration"), "{found:?}");
    assert_eq!(findings(f.store(), false, false).1, Vec::new());
    // One that did not can't make it up.
    let (mut f, _) = damaged(false, &|f, _| damage(f));
    f.reopen();
    let (checked, found) = findings(f.store(), true, false);
    assert_eq!((checked.wrong, checked.mended), (1, 0), "{found:?}");
    let want = format!("remove it by its id {} and load it again", id.short());
    assert_eq!(found[0].advice.as_deref(), Some(want.as_str()));
    f.store().remove(&id.short(), false, &|_| None).unwrap();
    f.image("one", &[layer()]).unwrap();
    assert_eq!(findings(f.store(), false, false).1, Vec::new());
    // A flipped bit.
    let path = f.root().join("blobs/sha256").join(id.hex());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    f.reopen();
    assert!(findings(f.store(), true, false).1[0].problem.contains("damaged"));
}

#[test]
fn a_damaged_copy_of_a_whole_layer_is_forgotten() {
    let (f, _) = damaged(true, &|f, _| {
        std::fs::write(f.root().join("blobs/sha256").join(Digest::of(&layer()).hex()), "rubbish").unwrap();
    });
    let (checked, found) = findings(f.store(), true, false);
    assert_eq!((checked.wrong, checked.mended), (0, 1), "{found:?}");
    assert!(found[0].problem.contains("its copy as received"), "{found:?}");
    assert_eq!(findings(f.store(), false, false).1, Vec::new());
    f.assert_clean();
}

#[test]
fn what_nothing_needs_goes() {
    let (f, _) = damaged(false, &|f, _| {
        std::fs::create_dir_all(f.root().join("layers/stray/deep")).unwrap();
        std::fs::write(f.root().join("recipes/stray"), "").unwrap();
        std::fs::write(f.root().join("blobs/sha256/stray"), "").unwrap();
    });
    let (_, found) = findings(f.store(), false, false);
    assert_eq!(
        texts(&found, Outcome::Mendable),
        ["layers/stray: nothing needs it", "recipes/stray: nothing needs it", "blobs/sha256/stray: nothing needs it"]
    );
    assert_eq!(findings(f.store(), true, false).0.mended, 3);
    assert_eq!(list(&f.root().join("layers")).len(), 1);
    assert_eq!(findings(f.store(), false, false).1, Vec::new());
    f.assert_clean();
}

#[test]
fn containers_and_volumes_without_their_directories() {
    let (f, id) = damaged(false, &|f, _| {
        let (row, name) = ("c".repeat(64), "web".to_owned());
        let row = ContainerRow { id: row, name, image: None, ephemeral: false, doc: "{}".into() };
        f.store().db().put_container(&row, Durability::Synced).unwrap();
        let volume = dhow_store::VolumeRow { name: "data".into(), anonymous: false, doc: "{}".into() };
        f.store().db().put_volume(&volume, Durability::Synced).unwrap();
    });
    let (checked, found) = findings(f.store(), true, false);
    assert_eq!(checked.wrong, 2);
    assert_eq!(
        texts(&found, Outcome::Wrong),
        [
            "container web: its directory is gone, and with it what it wrote: remove it: dhow rm web",
            "volume data: its directory is gone: remove it: dhow volume rm data"
        ]
    );
    assert!(f.store().image(&id).is_ok());
}

/// Damages a database file.
type Break = fn(&Path);

#[test]
fn a_broken_database_is_made_anew() {
    let breaks: [(Break, bool, &str); 5] = [
        (|db| std::fs::write(db, "").unwrap(), false, "missing or empty"),
        (|db| std::fs::remove_file(db).unwrap(), false, "missing or empty"),
        (|db| std::fs::write(db, vec![7; 8192]).unwrap(), false, "not a database"),
        (
            // The root page of the table of tags, which comes behind the others.
            |db| {
                let c = rusqlite::Connection::open(db).unwrap();
                let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'volumes'";
                let page: u64 = c.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap() as u64;
                drop(c);
                let f = std::fs::File::options().write(true).open(db).unwrap();
                f.write_all_at(&[0xff; 4096], (page - 1) * 4096).unwrap();
            },
            true,
            "",
        ),
        (
            |db| {
                let f = std::fs::File::options().write(true).open(db).unwrap();
                f.set_len(4096 * 3).unwrap();
            },
            false,
            "",
        ),
    ];
    for (number, (damage, names_stay, want)) in breaks.into_iter().enumerate() {
        let mut f = Fixture::with(StoreConfig { keep_blobs: number % 2 == 1, ..StoreConfig::default() });
        let id = f.image("one", &[layer(), twin()]).unwrap();
        let container = f.root().join("containers").join("d".repeat(64));
        std::fs::create_dir(&container).unwrap();
        std::fs::write(container.join("precious"), "x").unwrap();
        f.store = None;
        // Everything in one file, as after a clean end.
        let c = rusqlite::Connection::open(f.root().join("dhow.db")).unwrap();
        c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(c);
        damage(&f.root().join("dhow.db"));

        let mut found = Vec::new();
        let checked = check_root(&f.root(), f.config.clone(), false, &|_| false, &mut |x| found.push(x)).unwrap();
        assert_eq!(checked.wrong, 1, "{number}: {found:?}");
        assert!(found[0].about == "database" && found[0].problem.contains(want), "{number}: {found:?}");
        assert!(found[0].to_string().contains("--repair"), "{number}: {found:?}");
        // Nothing is lost by trying to open it.
        if let Err(e) = Store::open(&f.root(), f.config.clone()) {
            assert!(e.text().contains("dhow system check --repair --root"), "{number}: {e}");
        }
        assert_eq!(list(&f.root().join("layers")).len(), 2, "{number}");

        let mut found = Vec::new();
        let checked = check_root(&f.root(), f.config.clone(), true, &|_| false, &mut |x| found.push(x)).unwrap();
        assert_eq!(checked.wrong, 0, "{number}: {found:?}");
        assert!(found.iter().any(|x| x.outcome == Outcome::Mended && x.about == "database"), "{number}: {found:?}");
        assert!(list(&f.root()).iter().any(|n| n.starts_with("dhow.db.damaged-")) || number == 1);
        f.reopen();
        assert_eq!(f.store().images().unwrap()[0].id, id, "{number}");
        assert_eq!(f.store().resolve("one").is_ok(), names_stay, "{number}");
        assert_eq!(findings(f.store(), false, false).1, Vec::new(), "{number}");
        assert_eq!(f.rebuilt(&Digest::of(&layer())), layer());
        let lost = f.root().join("lost-containers").join("d".repeat(64)).join("precious");
        assert!(lost.exists(), "{number}: {found:?}");
        f.assert_clean();
    }
}

#[test]
fn a_root_is_checked_without_a_daemon_and_never_under_one() {
    let mut f = Fixture::new();
    f.image("one", &[layer()]).unwrap();
    let e = check_root(&f.root(), StoreConfig::default(), false, &|_| false, &mut |_| {}).unwrap_err();
    assert!(e.text().contains("in use by process"), "{e}");
    f.store = None;
    let checked = check_root(&f.root(), StoreConfig::default(), false, &|_| false, &mut |x| panic!("{x}")).unwrap();
    assert_eq!((checked.images, checked.layers, checked.wrong), (1, 1, 0));
    assert!(checked.bytes > 0);
    let e = check_root(f.dir.path(), StoreConfig::default(), true, &|_| false, &mut |_| {}).unwrap_err();
    assert!(e.text().contains("no root of a dhow daemon"), "{e}");
}

#[test]
fn recipes_without_checksums_are_read() {
    // The recipe of an older dhow: the same records without the checksums.
    let f = Fixture::new();
    let id = f.image("one", &[twin()]).unwrap();
    let path = f.root().join("recipes").join(Digest::of(&twin()).hex());
    let old = zstd::decode_all(std::fs::File::open(&path).unwrap()).unwrap();
    let mut new = Vec::new();
    let mut at = 8;
    new.extend_from_slice(&old[..8]);
    let number = |at: usize| u32::from_le_bytes(old[at..at + 4].try_into().unwrap()) as usize;
    while at < old.len() {
        let len = match old[at] {
            0 => 1,
            1 => 5 + number(at + 1),
            2 => {
                let path = number(at + 1);
                9 + path + 16 * number(at + 5 + path)
            }
            3 => 5,
            other => panic!("record {other}"),
        };
        if old[at] != 3 {
            new.extend_from_slice(&old[at..at + len]);
        }
        at += len;
    }
    assert!(new.len() < old.len());
    std::fs::write(&path, zstd::encode_all(new.as_slice(), 1).unwrap()).unwrap();
    assert_eq!(findings(f.store(), false, false).1, Vec::new());
    std::fs::write(f.tree(&id).join("other"), "OF its own").unwrap();
    let (_, found) = findings(f.store(), false, false);
    assert!(found[0].problem.contains("no single file can be named"), "{found:?}");
}
