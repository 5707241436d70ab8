//! Loading what tools really write: docker archives old and new, OCI layouts, compressed or not; and what
//! can be done with images afterwards.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_store::{HELLO, InUse, Removed, Store, StoreConfig};
use dhow_types::image::{chain_ids, media_type};
use dhow_types::{Digest, ErrorKind, Reference};
use std::io::{Cursor, Read};
use std::os::unix::fs::MetadataExt as _;
use support::{Fixture, Layout, Tar, config, descriptor, docker_archive, gzip, list};

fn layers() -> Vec<Vec<u8>> {
    vec![
        Tar::new().dir("etc").file("etc/a", b"lower").file("etc/b", b"gone").end(),
        Tar::new().dir("etc").file("etc/a", b"upper").file("etc/.wh.b", b"").end(),
    ]
}

fn never(_: &Digest) -> Option<InUse> {
    None
}

#[test]
fn a_docker_archive_in_every_wrapping_gives_the_same_image() {
    let layers = layers();
    let config = config(&layers);
    let packed: Vec<Vec<u8>> = vec![gzip(&layers[0]), zstd::encode_all(layers[1].as_slice(), 3).unwrap()];
    let plain = docker_archive(Some("busybox:1.36"), &config, &layers);
    for archive in [
        plain.clone(),
        gzip(&plain),
        zstd::encode_all(plain.as_slice(), 3).unwrap(),
        docker_archive(Some("docker.io/library/busybox:1.36"), &config, &packed),
    ] {
        let f = Fixture::new();
        let loaded = f.load(archive).unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!((loaded[0].id, loaded[0].replaced), (Digest::of(&config), None));
        assert_eq!(loaded[0].reference.as_ref().unwrap().familiar(), "busybox:1.36");
        let image = f.store().image(&loaded[0].id).unwrap();
        assert_eq!(image.raw, config);
        assert_eq!((image.size, image.layer_sizes.as_slice()), (14, &[9, 5][..]));
        let dirs = f.store().layer_dirs(&loaded[0].id).unwrap();
        assert_eq!(std::fs::read_to_string(dirs[0].join("etc/a")).unwrap(), "upper");
        assert_eq!(std::fs::read_to_string(dirs[1].join("etc/a")).unwrap(), "lower");
        assert_eq!(std::fs::symlink_metadata(dirs[0].join("etc/b")).unwrap().rdev(), 0);
        for layer in &layers {
            assert!(f.rebuilt(&Digest::of(layer)) == *layer);
        }
        assert!(f.store().verify().unwrap().is_empty());
        let record = f.store().resolve("busybox:1.36").unwrap();
        assert_eq!((record.size, record.created_unix), (14, 1_704_164_645));
        f.assert_clean();
    }
}

#[test]
fn the_archive_of_an_old_docker_with_links_between_equal_layers() {
    let layer = Tar::new().file("x", b"1").end();
    let both = vec![layer.clone(), layer.clone()];
    let config = config(&both);
    let name = format!("{}.json", Digest::of(&config).hex());
    let manifest = format!(r#"[{{"Config":"{name}","RepoTags":null,"Layers":["aa/layer.tar","bb/layer.tar"]}}]"#);
    let archive = Tar::new()
        .dir("aa/")
        .file("aa/VERSION", b"1.0")
        .file("aa/json", b"{}")
        .file("aa/layer.tar", &layer)
        .dir("bb/")
        .symlink("bb/layer.tar", "../aa/layer.tar")
        .file(&name, &config)
        .file("manifest.json", manifest.as_bytes())
        .file("repositories", b"{}")
        .end();
    let f = Fixture::new();
    let loaded = f.load(archive).unwrap();
    assert_eq!((loaded[0].reference.clone(), loaded[0].id), (None, Digest::of(&config)));
    assert_eq!(f.store().image(&loaded[0].id).unwrap().layers.len(), 2);
    // overlayfs takes a directory once.
    assert_eq!(f.store().layer_dirs(&loaded[0].id).unwrap().len(), 1);
    f.assert_clean();
}

#[test]
fn oci_layouts() {
    let layers = layers();
    let config = config(&layers);
    let packed = vec![gzip(&layers[0]), layers[1].clone()];
    let f = Fixture::new();
    let layout = Layout::new(&config, &packed, Some("example.com/a/b:c"));
    let loaded = f.load(layout.tar()).unwrap();
    assert_eq!(loaded[0].id, Digest::of(&config));
    let record = f.store().resolve("example.com/a/b:c").unwrap();
    assert_eq!(record.manifest, Some(Digest::of(&Layout::manifest(&config, &packed))));
    assert!(f.store().verify().unwrap().is_empty());
    // Again: nothing is unpacked, nothing changes.
    let before = list(&f.root().join("layers"));
    assert_eq!(f.load(layout.tar()).unwrap()[0].replaced, None);
    assert_eq!(list(&f.root().join("layers")), before);
    f.assert_clean();

    // A bare tag names nothing, a full name in ref.name does.
    for (name, want) in [("latest", None), ("quay.io/x/y:1", Some("quay.io/x/y:1")), ("no such: name", None)] {
        let mut layout = Layout::new(&config, &packed, None);
        layout.index["manifests"][0]["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": name });
        let f = Fixture::new();
        let got = f.load(layout.tar()).unwrap()[0].reference.as_ref().map(Reference::familiar);
        assert_eq!(got.as_deref(), want, "{name}");
    }
}

#[test]
fn an_index_for_several_platforms_gives_the_hosts() {
    let host = dhow_types::Platform::host();
    let layer = vec![Tar::new().file("x", b"mine").end()];
    let other = vec![Tar::new().file("x", b"other").end()];
    let (mine, foreign) = (config(&layer), config(&other));
    let (m1, m2) = (Layout::manifest(&mine, &layer), Layout::manifest(&foreign, &other));
    let attestation = Layout::manifest(&mine, &[]);
    let entry = |m: &[u8], arch: &str| {
        let mut d = descriptor(media_type::OCI_MANIFEST, m);
        d["platform"] =
            serde_json::json!({ "os": if arch == "unknown" { arch } else { "linux" }, "architecture": arch });
        d
    };
    let make = |entries: Vec<serde_json::Value>| {
        let inner = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries })
            .to_string()
            .into_bytes();
        let mut outer = descriptor(media_type::OCI_INDEX, &inner);
        outer["annotations"] = serde_json::json!({ "io.containerd.image.name": "docker.io/library/multi:1" });
        let blobs = vec![
            layer[0].clone(),
            other[0].clone(),
            mine.clone(),
            foreign.clone(),
            m1.clone(),
            m2.clone(),
            attestation.clone(),
            inner,
        ];
        Layout { blobs, index: serde_json::json!({ "schemaVersion": 2, "manifests": [outer] }) }.tar()
    };
    let f = Fixture::new();
    let loaded = f
        .load(make(vec![entry(&m2, "s390x"), entry(&m1, &host.architecture), entry(&attestation, "unknown")]))
        .unwrap();
    assert_eq!((loaded.len(), loaded[0].id), (1, Digest::of(&mine)));
    assert_eq!(list(&f.root().join("layers")).len(), 1, "the other platform's layer is not kept");
    let e = Fixture::new().load(make(vec![entry(&m2, "s390x"), entry(&m1, "ppc64le")])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    assert!(e.text().contains("linux/s390x, linux/ppc64le"), "{e}");
    f.assert_clean();
}

#[test]
fn lies_about_digests_are_found() {
    let layers = layers();
    let good = config(&layers);
    let f = Fixture::new();
    // The configuration names other layers, fewer layers, or has another digest than its name.
    for (archive, word) in [
        (docker_archive(None, &config(&[layers[1].clone(), layers[0].clone()]), &layers), "its configuration says"),
        (docker_archive(None, &config(&layers[..1]), &layers), "has 2 layers, its configuration names 1"),
        (
            {
                let name = format!("{}.json", Digest::of(b"other").hex());
                let manifest = format!(r#"[{{"Config":"{name}","Layers":[]}}]"#);
                Tar::new().file(&name, &config(&[])).file("manifest.json", manifest.as_bytes()).end()
            },
            "has the digest",
        ),
        (Tar::new().file("manifest.json", br#"[{"Config":"x","Layers":[]}]"#).end(), "which is not there"),
        (Tar::new().file("manifest.json", b"[]").end(), "holds no image"),
        (Tar::new().file("manifest.json", b"{").end(), "invalid manifest.json"),
        (Tar::new().file("etc/passwd", b"root").end(), "not an image archive"),
        (b"hello".to_vec(), "neither a tar nor"),
        (Vec::new(), "empty"),
        (b"BZh91AY".to_vec(), "bzip2 -d"),
        (b"\xfd7zXZ\0".to_vec(), "xz -d"),
    ] {
        let e = f.load(archive).unwrap_err();
        assert!(e.text().contains(word), "{word}: {e}");
        f.assert_clean();
    }
    // A blob under another blob's name, which is already in the store: it is not read, and gets nowhere.
    f.load(Layout::new(&good, &layers, None).tar()).unwrap();
    let mut lie = Layout::new(&good, &layers, Some("x:y")).tar();
    let at = lie.windows(5).position(|w| w == b"lower").unwrap();
    lie[at] ^= 1;
    let before = f.store().layer_dirs(&Digest::of(&good)).unwrap();
    assert_eq!(f.load(lie).unwrap()[0].id, Digest::of(&good));
    assert_eq!(f.store().layer_dirs(&f.store().resolve("x:y").unwrap().id).unwrap(), before);
    assert!(f.store().verify().unwrap().is_empty());
    f.assert_clean();
}

#[test]
fn names_ids_and_prefixes() {
    let f = Fixture::new();
    let a = f.image("one:1", &[Tar::new().file("a", b"1").end()]).unwrap();
    let b = f.image("one:2", &[Tar::new().file("a", b"2").end()]).unwrap();
    f.store().tag("one:1", &"example.com/x".parse().unwrap()).unwrap();
    for name in [
        "one:1",
        "docker.io/library/one:1",
        "example.com/x",
        "example.com/x:latest",
        &a.to_string(),
        &a.hex(),
        &a.short(),
    ] {
        assert_eq!(f.store().resolve(name).unwrap().id, a, "{name}");
    }
    let e = f.store().resolve("one").unwrap_err();
    assert_eq!((e.kind(), e.text()), (ErrorKind::NotFound, "No such image: one:latest"));
    assert_eq!(f.store().resolve("One").unwrap_err().kind(), ErrorKind::InvalidParameter);
    let names: Vec<String> = f.store().resolve("one:1").unwrap().references.iter().map(Reference::familiar).collect();
    assert_eq!(names, ["one:1", "example.com/x:latest"]);
    // A tag moves, and a load says so.
    f.store().tag("one:1", &"one:2".parse().unwrap()).unwrap();
    assert_eq!(f.store().resolve("one:2").unwrap().id, a);
    assert!(f.store().resolve(&b.hex()).unwrap().references.is_empty());
    let layers = [Tar::new().file("a", b"3").end()];
    let loaded = f.load(docker_archive(Some("one:2"), &config(&layers), &layers)).unwrap();
    assert_eq!(loaded[0].replaced, Some(a));
    assert_eq!(f.store().images().unwrap().len(), 3);
    let digested = "one".parse::<Reference>().unwrap().with_digest(a);
    assert_eq!(f.store().tag("one:1", &digested).unwrap_err().kind(), ErrorKind::InvalidParameter);
}

#[test]
fn an_ambiguous_prefix_is_named() {
    let f = Fixture::new();
    // Sixteen first digits: with seventeen images two share one.
    let ids: Vec<Digest> =
        (0..17u8).map(|i| f.image(&format!("i:{i}"), &[Tar::new().file("a", &[i]).end()]).unwrap()).collect();
    let first = |d: &Digest| d.hex()[..1].to_owned();
    let shared = ids.iter().map(first).find(|p| ids.iter().filter(|d| first(d) == *p).count() > 1).unwrap();
    let e = f.store().resolve(&format!("sha256:{shared}")).unwrap_err();
    assert!(e.text().contains("ambiguous"), "{e}");
}

#[test]
fn removal_takes_names_then_images_then_layers() {
    let f = Fixture::new();
    let base = Tar::new().file("base", b"b").end();
    let (top1, top2) = (Tar::new().file("t", b"1").end(), Tar::new().file("t", b"2").end());
    let one = f.image("one", &[base.clone(), top1.clone()]).unwrap();
    let two = f.image("two", &[base.clone(), top2.clone()]).unwrap();
    f.store().tag("one", &"alias".parse().unwrap()).unwrap();
    assert_eq!(f.store().remove("one", false, &never).unwrap(), [Removed::Untagged("one:latest".into())]);
    let users = |d: &Digest| (*d == one).then(|| InUse { container: "c0ffee".repeat(6), running: false });
    let e = f.store().remove("alias", false, &users).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.text().starts_with("conflict: unable to remove repository reference \"alias\" (must force)"), "{e}");
    let chain = chain_ids(&[Digest::of(&base), Digest::of(&top1)]);
    assert_eq!(
        f.store().remove("alias", false, &never).unwrap(),
        [Removed::Untagged("alias:latest".into()), Removed::Deleted(one), Removed::Deleted(chain[1])]
    );
    assert_eq!(f.store().remove("one", false, &never).unwrap_err().text(), "No such image: one:latest");
    assert!(f.store().image(&one).is_err());
    assert_eq!(list(&f.root().join("layers")).len(), 2, "the shared layer stays");
    assert!(f.store().verify().unwrap().is_empty());
    f.store().remove(&two.hex(), false, &never).unwrap();
    for dir in ["layers", "recipes", "blobs/sha256"] {
        assert!(list(&f.root().join(dir)).is_empty(), "{dir}");
    }
    f.assert_clean();
}

#[test]
fn forced_removal_keeps_what_a_running_container_needs() {
    let f = Fixture::new();
    let id = f.image("one", &[Tar::new().file("a", b"1").end()]).unwrap();
    let running = |_: &Digest| Some(InUse { container: "c0ffee".repeat(6), running: true });
    assert_eq!(f.store().remove("one", true, &running).unwrap(), [Removed::Untagged("one:latest".into())]);
    let e = f.store().remove(&id.hex(), true, &running).unwrap_err();
    assert!(e.text().contains("(cannot be forced) - image is being used by running container c0ffeec0ffee"), "{e}");
    assert!(f.store().layer_dirs(&id).unwrap()[0].join("a").exists());
}

#[test]
fn a_store_survives_reopening_and_clears_what_no_row_names() {
    let mut f = Fixture::new();
    let id = f.image("one", &layers()).unwrap();
    for dir in ["tmp/load-1-1/layer-0", "layers/feed", "recipes/feed.displaced", "blobs/sha256/feed"] {
        std::fs::create_dir_all(f.root().join(dir)).unwrap();
    }
    f.reopen();
    assert_eq!(f.store().resolve("one").unwrap().id, id);
    assert_eq!(list(&f.root().join("layers")).len(), 2);
    assert!(f.store().verify().unwrap().is_empty());
    f.assert_clean();
    for dir in ["", "layers", "blobs", "containers"] {
        assert_eq!(std::fs::metadata(f.root().join(dir)).unwrap().mode() & 0o777, 0o700, "{dir}");
    }
    let e = Store::open(&f.root(), StoreConfig::default()).err().unwrap();
    assert!(e.text().contains(&format!("in use by process {}", std::process::id())), "{e}");
}

#[test]
fn damage_is_found() {
    let f = Fixture::new();
    let id = f.image("one", &layers()).unwrap();
    std::fs::write(f.tree(&id).join("etc/a"), "evil!").unwrap();
    let problems = f.store().verify().unwrap();
    assert!(problems[0].contains("file etc/a has other bytes"), "{problems:?}");
    std::fs::remove_file(f.tree(&id).join("etc/a")).unwrap();
    assert!(f.store().verify().unwrap()[0].contains("file etc/a is missing"));
}

#[test]
fn blobs_are_kept_when_asked_and_only_then() {
    let layers = layers();
    let packed = vec![gzip(&layers[0]), layers[1].clone()];
    for keep in [false, true] {
        let f = Fixture::with(StoreConfig { keep_blobs: keep, ..StoreConfig::default() });
        f.load(docker_archive(Some("x"), &config(&layers), &packed)).unwrap();
        for blob in &packed {
            let path = f.root().join("blobs/sha256").join(Digest::of(blob).hex());
            assert_eq!(std::fs::read(path).ok().as_ref(), keep.then_some(blob));
        }
        assert!(f.store().verify().unwrap().is_empty());
        f.store().remove("x", false, &never).unwrap();
        assert!(list(&f.root().join("blobs/sha256")).is_empty());
        f.assert_clean();
    }
}

#[test]
fn a_layer_without_bytes() {
    let f = Fixture::new();
    let id = f.image("empty", &[Vec::new()]).unwrap();
    assert_eq!(f.store().image(&id).unwrap().layers, [Digest::of(b"")]);
    assert!(list(&f.tree(&id)).is_empty());
    assert!(f.store().verify().unwrap().is_empty());
    let none = f.image("scratch", &[]).unwrap();
    assert!(f.store().layer_dirs(&none).unwrap().is_empty());
    f.assert_clean();
}

#[test]
fn the_embedded_image() {
    let mut f = Fixture::new();
    let id = f.store().ensure_hello(b"program").unwrap();
    assert_eq!(f.store().resolve(HELLO).unwrap().id, id);
    let file = f.tree(&id).join("hello");
    assert_eq!(
        (std::fs::read(&file).unwrap(), std::fs::metadata(&file).unwrap().mode()),
        (b"program".to_vec(), 0o100755)
    );
    assert_eq!(f.store().image(&id).unwrap().config.config.cmd, ["/hello"]);
    f.reopen();
    assert_eq!(f.store().ensure_hello(b"program").unwrap(), id);
    // A newer program replaces it; a removed one comes back.
    let newer = f.store().ensure_hello(b"newer program").unwrap();
    assert_ne!(newer, id);
    f.store().remove(HELLO, false, &never).unwrap();
    assert_eq!(f.store().ensure_hello(b"newer program").unwrap(), newer);
    f.assert_clean();
}

/// Gives bytes until it fails.
struct Failing<'a>(Cursor<&'a [u8]>, usize);

impl Read for Failing<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let left = self.1 - self.0.position() as usize;
        if left == 0 {
            return Err(std::io::Error::other("the client went away"));
        }
        let n = buf.len().min(left);
        self.0.read(&mut buf[..n])
    }
}

#[test]
fn an_input_that_breaks_off_anywhere_leaves_nothing() {
    let f = Fixture::new();
    let layers = layers();
    let archive = docker_archive(Some("x"), &config(&layers), &[gzip(&layers[0]), layers[1].clone()]);
    let ends = archive.len() - 1024;
    for cut in (0..ends).step_by(97) {
        let e = f.store().load(Failing(Cursor::new(&archive), cut), &mut |_| {}).unwrap_err();
        assert!(e.text().contains("the client went away"), "{cut}: {e}");
        assert!(f.store().load(Cursor::new(&archive[..cut]), &mut |_| {}).is_err(), "{cut}");
    }
    assert!(f.store().images().unwrap().is_empty());
    f.assert_clean();
    assert!(list(&f.root().join("layers")).is_empty());
}

#[test]
fn loads_and_removals_at_the_same_time() {
    let f = Fixture::new();
    let shared = Tar::new().file("shared", &[1; 70_000]).end();
    std::thread::scope(|s| {
        for i in 0..4u8 {
            let (f, shared) = (&f, shared.clone());
            s.spawn(move || {
                for round in 0..8 {
                    let layers = [shared.clone(), Tar::new().file("own", &[i, round]).end()];
                    let name = format!("image{i}");
                    let id = f.image(&name, &layers).unwrap();
                    assert!(f.tree(&id).join("own").exists());
                    assert!(f.store().layer_dirs(&id).unwrap()[1].join("shared").exists());
                    f.store().remove(&name, false, &never).unwrap();
                }
            });
        }
    });
    assert!(f.store().images().unwrap().is_empty());
    assert!(list(&f.root().join("layers")).is_empty());
    assert!(f.store().verify().unwrap().is_empty());
    f.assert_clean();
}

#[test]
fn progress_tells_every_layer_to_its_end() {
    let f = Fixture::new();
    let layers = layers();
    let mut seen = Vec::new();
    let archive = docker_archive(None, &config(&layers), &layers);
    f.store().load(Cursor::new(archive), &mut |p| seen.push(p)).unwrap();
    let ends: Vec<u64> = seen.iter().filter(|p| p.current == p.total).map(|p| p.total).collect();
    assert_eq!(ends, layers.iter().map(|l| l.len() as u64).collect::<Vec<_>>());
}
