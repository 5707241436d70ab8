//! What is fuzzed, and what must hold for every input: no panic, nothing outside of the tree, nothing left over, and
//! what was accepted comes back byte for byte.

use crate::place::{Place, names};
use crate::{draw, layout, seal};
use dhow_corpus::describe;
use dhow_store::{Limits, Store, StoreConfig, steps};
use dhow_types::Digest;
use std::io::Cursor;
use std::path::Path;
use std::sync::OnceLock;

/// A target takes any bytes and panics if something is wrong.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const ALL: [(&str, Target); 5] =
    [("layer", layer), ("entries", entries), ("recipe", recipe), ("documents", documents), ("load", load)];

/// The longest tar that is written again.
const MOST: usize = 8 << 20;

/// Small, so that they are reached, and so that no input takes long.
fn limits() -> Limits {
    Limits {
        layer_bytes: 4 << 20,
        archive_bytes: 8 << 20,
        ratio_from: 1 << 20,
        entries: 500,
        header_bytes: 64 << 10,
        depth: 16,
        displaced: 64,
        directory_bytes: 16 << 10,
        archive_entries: 200,
        document_bytes: 256 << 10,
        ..Limits::default()
    }
}

/// A layer's tar, byte by byte.
fn layer(input: &[u8]) {
    through_the_reader(&seal::sealed(input));
}

/// A layer's tar, drawn entry by entry.
fn entries(input: &[u8]) {
    through_the_reader(&draw::archive(input));
}

/// Unpacked; then written again from the recipe, and the tree packed and unpacked a second time.
fn through_the_reader(tar: &[u8]) {
    let place = Place::new();
    let tree = steps::unpack(tar, &place.dir("one"), &limits());
    place.assert_nothing_beside(&["one"]);
    let Ok(tree) = tree else { return };
    for name in names(&place.path().join("one")) {
        assert!(["tree", "recipe", "displaced", "lost"].contains(&name.as_str()), "{name} beside the tree");
    }
    let again = steps::rebuild(&place.path().join("one"), MOST).expect("an accepted layer is written again");
    assert!(again == tar, "the recipe gives other bytes");
    let packed = match steps::pack(&tree) {
        Ok(packed) => packed,
        // `.wh.a/b` is a file in a directory, as Docker reads it; it could not come back, and packing says so.
        Err(e) if e.text().contains("names with .wh. in front") => return,
        Err(e) => panic!("an unpacked layer can't be packed: {e}"),
    };
    // More is needed than for the archive itself: holes are filled.
    let limits = Limits { layer_bytes: 64 << 20, directory_bytes: 1 << 20, ..limits() };
    let second = steps::unpack(&packed, &place.dir("two"), &limits).expect("what was packed can be unpacked");
    assert_same(&tree, &second);
}

fn assert_same(one: &Path, two: &Path) {
    let (one, two) = (seen(one), seen(two));
    if one != two {
        let differ = one.iter().filter(|l| !two.contains(l)).chain(two.iter().filter(|l| !one.contains(l)));
        panic!("packing changed the tree: {:#?}", differ.collect::<Vec<_>>());
    }
}

/// What a tree looks like; a whiteout has nothing but its name.
fn seen(tree: &Path) -> Vec<String> {
    let whiteout = |line: &String| line.contains(" 20000 ") && line.contains(" dev 0");
    let name = |line: &str| line.split(" 20000 ").next().unwrap_or_default().to_owned();
    // The store's mark for whiteouts stays where one was replaced.
    let unmarked = |line: String| line.replace(" trusted.overlay.origin=\"\"", "");
    describe(tree)
        .into_iter()
        .map(unmarked)
        .map(|line| if whiteout(&line) { name(&line) + " whiteout" } else { line })
        .collect()
}

/// A recipe, and if the first byte says so replaced content, beside a tree of three files.
fn recipe(input: &[u8]) {
    let Some((split, rest)) = input.split_first() else { return };
    let (displaced, recipe) = rest.split_at(usize::from(*split).min(rest.len()));
    let place = Place::new();
    let dir = place.dir("one");
    std::fs::create_dir_all(dir.join("tree/d")).unwrap();
    for (name, length) in [("f", 1), ("d/b", 3000), ("a", 0)] {
        std::fs::write(dir.join("tree").join(name), vec![7; length]).unwrap();
    }
    let packed = |bytes: &[u8]| zstd::encode_all(&[b"dhowrcp1", bytes].concat()[..], 1).unwrap();
    std::fs::write(dir.join("recipe"), packed(recipe)).unwrap();
    if *split > 0 {
        std::fs::write(dir.join("displaced"), packed(displaced)).unwrap();
    }
    if let Ok(tar) = steps::rebuild(&dir, MOST) {
        assert!(tar.len() <= MOST);
    }
    place.assert_nothing_beside(&["one"]);
}

/// Manifests, indexes and configurations.
fn documents(input: &[u8]) {
    let digest = Digest::of(&layout::layer());
    let layers = [(b"l.tar".to_vec(), digest, digest), (b"layer0/layer.tar".to_vec(), digest, digest)];
    let documents = layout::read(input);
    if let Ok(images) = steps::images(&documents, &layers) {
        for id in images {
            assert!(documents.iter().any(|d| Digest::of(&d.1) == id), "an image without configuration");
        }
    }
}

/// A whole archive through a store of its own.
fn load(input: &[u8]) {
    static STORE: OnceLock<(Store, Place)> = OnceLock::new();
    let (store, place) = STORE.get_or_init(|| {
        let place = Place::new();
        let config = StoreConfig { limits: limits(), ..StoreConfig::default() };
        (Store::open(&place.path().join("root"), config).unwrap(), place)
    });
    let loaded = store.load(Cursor::new(seal::sealed(input)), &mut |_| {});
    place.assert_nothing_beside(&["root"]);
    let images = store.images().unwrap();
    if loaded.is_err() {
        assert!(images.is_empty(), "an archive that was refused left an image");
    }
    for image in images {
        store.remove(&image.id.to_string(), true, &|_| None).unwrap();
    }
    store.wait_for_trash();
    for dir in ["tmp", "trash", "layers", "recipes", "blobs/sha256"] {
        assert_eq!(names(&place.path().join("root").join(dir)), Vec::<String>::new(), "left in {dir}");
    }
}
