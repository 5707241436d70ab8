//! What was loaded comes out again, whole or not at all.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_store::{Piece, Store};
use dhow_types::{Digest, Error, ErrorKind, Platform, Result};
use std::collections::BTreeMap;
use support::{Fixture, Tar, config, docker_archive};

fn save(store: &Store, names: &[&str]) -> Result<Vec<u8>> {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let save = store.prepare_save(&names, None)?;
    let mut all = Vec::new();
    save.write(&mut |piece: Piece| {
        all.extend_from_slice(piece.as_ref());
        Ok(())
    })?;
    assert_eq!(all.len() as u64, save.size(), "the size that was announced");
    Ok(all)
}

/// The files of an archive by their names.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        assert_eq!(entry.header().mtime().unwrap(), 0);
        assert!(files.insert(name.clone(), bytes).is_none(), "{name} twice");
    }
    files
}

/// Enough layers for all threads, of sizes around that of a buffer.
fn layers() -> Vec<Vec<u8>> {
    let sizes = [0usize, 1, 511, 512, 256 << 10, (256 << 10) - 1536, 3 << 20, 700_001];
    let noise =
        |n: usize, seed: usize| (0..n).map(|i| ((i * 31 + seed * 7 + i / 251) % 253) as u8).collect::<Vec<u8>>();
    sizes
        .iter()
        .enumerate()
        .map(|(i, n)| {
            Tar::new().dir("d").file(format!("d/f{i}"), &noise(*n, i)).file("twice", b"a").file("twice", b"b").end()
        })
        .collect()
}

#[test]
fn the_same_image_comes_back() {
    let from = Fixture::new();
    let layers = layers();
    let id = from.image("box:v1", &layers).unwrap();
    let archive = save(from.store(), &["box:v1"]).unwrap();
    assert_eq!(archive, save(from.store(), &["box:v1"]).unwrap(), "the same bytes each time");

    let to = Fixture::new();
    let loaded = to.load(archive.clone()).unwrap();
    assert_eq!((loaded[0].id, loaded[0].reference.as_ref().unwrap().familiar()), (id, "box:v1".to_owned()));
    assert_eq!(to.store().verify().unwrap(), Vec::<String>::new());
    assert_eq!(archive, save(to.store(), &["box:v1"]).unwrap());

    let files = files(&archive);
    for layer in &layers {
        assert_eq!(files[&format!("blobs/sha256/{}", Digest::of(layer).hex())], *layer);
    }
    let json = |name: &str| serde_json::from_slice::<serde_json::Value>(&files[name]).unwrap();
    let top = Digest::of(layers.last().unwrap());
    let manifest = json("manifest.json");
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["box:v1"]));
    assert_eq!(manifest[0]["Config"], format!("blobs/sha256/{}", id.hex()));
    assert_eq!(manifest[0]["LayerSources"][top.to_string()]["size"], layers.last().unwrap().len());
    let index = json("index.json");
    let entry = &index["manifests"][0];
    assert_eq!(entry["annotations"]["io.containerd.image.name"], "docker.io/library/box:v1");
    assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "v1");
    assert_eq!(json("repositories"), serde_json::json!({"box": {"v1": top.hex()}}));
    assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);

    // The layout inside is whole by itself.
    let mut layout = Tar::new();
    for (name, bytes) in &files {
        if !matches!(name.as_str(), "manifest.json" | "repositories") && !name.ends_with('/') {
            layout = layout.file(name, bytes);
        }
    }
    let to = Fixture::new();
    assert_eq!(to.load(layout.end()).unwrap()[0].id, id);
}

#[test]
fn several_images_share_layers_and_names_mean_what_docker_means() {
    let f = Fixture::new();
    let all = layers();
    let a = f.image("box:v1", &all[..3]).unwrap();
    let b = f.image("box:v2", &all[..4]).unwrap();
    let nameless = f.load(docker_archive(None, &config(&all[4..5]), &all[4..5])).unwrap()[0].id;
    let ids = |names: &[&str]| -> Vec<(Digest, Option<String>)> {
        let to = Fixture::new();
        let loaded = to.load(save(f.store(), names).unwrap()).unwrap();
        loaded.into_iter().map(|l| (l.id, l.reference.map(|r| r.familiar()))).collect()
    };
    let v1 = (a, Some("box:v1".to_owned()));
    let v2 = (b, Some("box:v2".to_owned()));
    assert_eq!(ids(&["box"]), [v1.clone(), v2.clone()], "a name without a tag is the whole repository");
    assert_eq!(ids(&["box:v2", "box:v1", "box:v2"]), [v2, v1]);
    assert_eq!(ids(&[&nameless.to_string()]), [(nameless, None)]);
    assert_eq!(ids(&[&a.hex()[..12]]), [(a, None)], "by id it has no name");
    let archive = files(&save(f.store(), &[&a.to_string()]).unwrap());
    let manifest: serde_json::Value = serde_json::from_slice(&archive["manifest.json"]).unwrap();
    assert!(manifest[0]["RepoTags"].is_null() && !archive.contains_key("repositories"));

    for (names, kind) in [
        (&["nope"][..], ErrorKind::NotFound),
        (&["box:v1", "box:v9"], ErrorKind::NotFound),
        (&[], ErrorKind::InvalidParameter),
    ] {
        assert_eq!(save(f.store(), names).unwrap_err().kind(), kind, "{names:?}");
    }
    let wanted: Platform = "linux/s390x".parse().unwrap();
    let error = f.store().prepare_save(&["box:v1".to_owned()], Some(&wanted)).unwrap_err();
    assert!(error.text().contains("no suitable export target found for platform linux/s390x"), "{error}");
    f.store().prepare_save(&["box:v1".to_owned()], Some(&Platform::host())).unwrap();
}

#[test]
fn what_is_saved_stays_until_it_is_written() {
    let f = Fixture::new();
    f.image("box:v1", &layers()).unwrap();
    let save = f.store().prepare_save(&["box:v1".to_owned()], None).unwrap();
    f.store().remove("box:v1", false, &|_| None).unwrap();
    let mut size = 0;
    save.write(&mut |piece| {
        size += piece.as_ref().len() as u64;
        Ok(())
    })
    .unwrap();
    assert_eq!(size, save.size());
}

#[test]
fn a_damaged_layer_and_a_reader_that_leaves_end_it() {
    let f = Fixture::new();
    let id = f.image("box:v1", &layers()).unwrap();
    let save = f.store().prepare_save(&["box:v1".to_owned()], None).unwrap();
    for after in [0, 1, 5, 12] {
        let mut seen = 0;
        let error = save
            .write(&mut |_| {
                seen += 1;
                if seen > after { Err(Error::system("gone")) } else { Ok(()) }
            })
            .unwrap_err();
        assert_eq!(error.text(), "gone", "after {after} pieces");
    }
    let file = f.store().layer_dirs(&id).unwrap()[1].join("d/f6");
    for (what, text) in
        [("changed", "is damaged"), ("shorter", "shorter"), ("longer", "is damaged"), ("gone", "d/f6 is missing")]
    {
        let whole = std::fs::read(&file).ok();
        match what {
            "changed" => std::fs::write(&file, vec![0; whole.as_ref().unwrap().len()]).unwrap(),
            "shorter" => std::fs::write(&file, b"x").unwrap(),
            "longer" => std::fs::write(&file, vec![1; 4 << 20]).unwrap(),
            _ => std::fs::remove_file(&file).unwrap(),
        }
        let error = save.write(&mut |_| Ok(())).unwrap_err();
        assert!(error.text().contains(text), "{what}: {error}");
        std::fs::write(&file, whole.unwrap()).unwrap();
    }
}
