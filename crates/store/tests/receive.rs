//! Images that come layer by layer: what becomes visible when, what an interruption leaves, and what is refused.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_store::{
    Hold, Incoming, Landed, LayerIn, Limits, ReceivedImage, Reservation, Spoiled, Steward, StoreConfig, WantedLayer,
};
use dhow_types::{Digest, ErrorKind, Platform, Reference, Result};
use std::io::Read;
use support::{Fixture, Packing, Tar, config, docker_archive, list};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

/// How a layer's bytes end.
#[derive(Clone, Copy)]
enum End {
    Right,
    Broken,
    Wrong,
}

struct Source<'a>(&'a [u8], End);

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() {
            return match self.1 {
                End::Right => Ok(0),
                End::Broken => Err(std::io::ErrorKind::UnexpectedEof.into()),
                End::Wrong => Err(std::io::ErrorKind::InvalidData.into()),
            };
        }
        // Small pieces, as a connection gives them.
        let n = self.0.len().min(buffer.len()).min(10_000);
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

/// A layer as a manifest and a configuration describe it.
struct Layer {
    wanted: WantedLayer,
    bytes: Vec<u8>,
}

fn layer(tar: &[u8], packing: Packing) -> Layer {
    let media_type = match packing {
        Packing::Gzip => GZIP,
        Packing::Zstd => ZSTD,
        _ => PLAIN,
    };
    let bytes = packing.pack(tar);
    let wanted = WantedLayer {
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        media_type: media_type.into(),
        diff_id: Digest::of(tar),
    };
    Layer { wanted, bytes }
}

/// A tar that no compression makes small.
fn large(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let noise: Vec<u8> = (0..3 << 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    Tar::new().file("noise", &noise).file("after", b"x").end()
}

impl Fixture {
    /// Receives what is missing of it, up to `to`; says where it began.
    fn receive(&self, l: &Layer, to: usize, end: End) -> (usize, Result<Landed, Spoiled>) {
        let store = self.store();
        let incoming = self.begin(l, store.reserve(store.room_for(&l.wanted)).unwrap());
        let (at, hash) = incoming.begun();
        assert_eq!(hash.finish().1, at, "as many bytes as were hashed");
        let at = at as usize;
        (at, incoming.receive(Source(&l.bytes[at..to], end), &|_| {}))
    }

    fn begin(&self, l: &Layer, reservation: Reservation) -> LayerIn {
        let store = self.store();
        match store.receive_layer(l.wanted.clone(), reservation, store.call_off()).unwrap() {
            Incoming::Layer(incoming) => *incoming,
            Incoming::Here(_) => panic!("it is here"),
        }
    }

    fn whole(&self, l: &Layer) {
        self.receive(l, l.bytes.len(), End::Right).1.map_err(|s| s.error).unwrap();
    }

    fn publish(&self, hold: &Hold, tars: &[Vec<u8>], names: &[&str]) -> Result<dhow_store::Taken> {
        let config = config(tars);
        let manifest = format!("the manifest of {}", Digest::of(&config)).into_bytes();
        hold.publish(ReceivedImage {
            config,
            manifest: (Digest::of(&manifest), manifest),
            layers: tars.iter().map(|t| Digest::of(t)).collect(),
            references: names.iter().map(|n| n.parse().unwrap()).collect(),
        })
    }

    fn pending(&self) -> usize {
        let hold = self.store().hold();
        let dir = list(&self.root().join("layers"));
        dir.iter()
            .filter(|hex| {
                let diff_id = Digest::from_hex(hex).unwrap();
                let wanted = WantedLayer { digest: diff_id, size: 0, media_type: String::new(), diff_id };
                hold.layer(&wanted).unwrap()
            })
            .count()
    }

    fn ingest(&self) -> Vec<String> {
        list(&self.root().join("ingest"))
    }
}

#[test]
fn layers_come_in_any_form_and_the_image_last() {
    for keep_blobs in [false, true] {
        let f = Fixture::with(StoreConfig { keep_blobs, ..StoreConfig::default() });
        let tars = vec![
            Tar::new().file("a", b"1").end(),
            large(1),
            Tar::new().file("b", b"2").end(),
            // A layer without changes may be an empty file.
            Vec::new(),
        ];
        let packings = [Packing::Plain, Packing::Gzip, Packing::Zstd, Packing::Plain];
        let layers: Vec<Layer> = tars.iter().zip(packings).map(|(tar, packing)| layer(tar, packing)).collect();
        let hold = f.store().hold();
        for l in &layers {
            assert!(!hold.layer(&l.wanted).unwrap());
            f.whole(l);
            assert!(hold.layer(&l.wanted).unwrap(), "visible at once");
        }
        assert!(f.ingest().is_empty());
        let digest = Digest::of(b"top");
        let taken = f.publish(&hold, &tars, &["reg:5000/x:1", &format!("reg:5000/x@{digest}")]).unwrap();
        assert!(taken.changed);
        assert!(!f.publish(&hold, &tars, &["reg:5000/x:1"]).unwrap().changed);
        drop(hold);
        let image = f.store().resolve("reg:5000/x:1").unwrap();
        assert_eq!(image.id, Digest::of(&config(&tars)));
        assert_eq!(image.digests, ["reg:5000/x".parse::<Reference>().unwrap().with_digest(digest)]);
        let names: Vec<_> = image.image.layer_dirs.iter().map(list).collect();
        assert_eq!(names, [vec![], vec!["b".to_owned()], vec!["after".into(), "noise".into()], vec!["a".into()]]);
        for tar in &tars {
            assert!(f.rebuilt(&Digest::of(tar)) == *tar);
        }
        assert_eq!(f.store().verify().unwrap(), Vec::<String>::new());
        let blobs = list(&f.root().join("blobs/sha256")).len();
        // Configuration and manifest; and of the layers those whose bytes are kept as they came.
        assert_eq!(blobs, if keep_blobs { 2 + layers.len() } else { 2 });
        f.assert_clean();
    }
}

#[test]
fn what_is_whole_outlives_the_process_but_not_the_machine() {
    let mut f = Fixture::new();
    let tars = [Tar::new().file("a", b"1").end(), Tar::new().file("b", b"2").end()];
    let layers: Vec<Layer> = tars.iter().map(|t| layer(t, Packing::Gzip)).collect();
    layers.iter().for_each(|l| f.whole(l));
    f.reopen();
    assert_eq!(f.pending(), 2, "a process that was killed loses nothing");
    // An image that goes takes nothing with it that waits.
    f.image("other", &[Tar::new().file("c", b"3").end()]).unwrap();
    f.store().remove("other", false, &|_| None).unwrap();
    assert_eq!(f.pending(), 2);
    let hold = f.store().hold();
    assert!(hold.layer(&layers[0].wanted).unwrap() && hold.layer(&layers[1].wanted).unwrap());
    f.publish(&hold, &tars[..1], &["first"]).unwrap();
    drop(hold);
    // After another boot only what an image has may be trusted.
    f.store().db().damage("UPDATE pending_layers SET boot_id = 'another'").unwrap();
    f.reopen();
    assert_eq!(list(&f.root().join("layers")), [Digest::of(&tars[0]).hex()]);
    assert_eq!(f.store().verify().unwrap(), Vec::<String>::new());
    f.assert_clean();
}

#[test]
fn what_nobody_fetches_goes_after_a_while_and_on_demand() {
    let mut f = Fixture::new();
    let tars = [Tar::new().file("a", b"1").end(), Tar::new().file("b", b"2").end()];
    let layers: Vec<Layer> = tars.iter().map(|t| layer(t, Packing::Gzip)).collect();
    let part = layer(&large(2), Packing::Gzip);
    layers.iter().for_each(|l| f.whole(l));
    f.receive(&part, 1 << 20, End::Broken).1.unwrap_err();
    f.store().discard_unfinished(false).unwrap();
    assert_eq!((f.pending(), f.ingest().len()), (2, 1), "it may still be asked for");
    let hold = f.store().hold();
    assert!(hold.layer(&layers[0].wanted).unwrap());
    let unfinished = f.store().unfinished().unwrap();
    assert_eq!(unfinished.layers, [layers[1].wanted.diff_id]);
    assert!((1 << 20..2 << 20).contains(&unfinished.parts), "{unfinished:?}");
    assert_eq!(f.store().discard_unfinished(true).unwrap(), unfinished.layers);
    assert_eq!((f.pending(), f.ingest().len()), (1, 0), "what a pull counts on stays");
    drop(hold);
    f.store().discard_unfinished(true).unwrap();
    assert_eq!(f.pending(), 0);
    // By age, at a start.
    layers.iter().for_each(|l| f.whole(l));
    f.receive(&part, 1 << 20, End::Broken).1.unwrap_err();
    f.store().db().damage("UPDATE pending_layers SET since = since - 100000").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100_000);
    let file = f.root().join("ingest").join(part.wanted.digest.hex());
    std::fs::File::options().append(true).open(file).unwrap().set_modified(old).unwrap();
    std::fs::write(f.root().join("ingest/stray"), "x").unwrap();
    f.reopen();
    assert_eq!((f.pending(), f.ingest().len()), (0, 0));
    f.assert_clean();
}

#[test]
fn an_interrupted_layer_goes_on_at_the_byte() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let mut f = Fixture::new();
        let tar = large(3);
        let l = layer(&tar, packing);
        let (at, result) = f.receive(&l, 1_500_000, End::Broken);
        assert_eq!(at, 0);
        assert!(!result.unwrap_err().again, "nothing is wrong with the bytes");
        assert_eq!(f.pending(), 0);
        f.reopen();
        let (at, result) = f.receive(&l, 2_000_000, End::Broken);
        assert_eq!(at, 1_500_000);
        result.unwrap_err();
        let (at, result) = f.receive(&l, l.bytes.len(), End::Right);
        assert_eq!(at, 2_000_000);
        result.map_err(|s| s.error).unwrap();
        assert!(f.rebuilt(&l.wanted.diff_id) == tar);
        assert!(f.ingest().is_empty());
        f.assert_clean();
    }
}

#[test]
fn what_is_counted_on_and_not_synced_keeps_its_mark() {
    let mut f = Fixture::new();
    let tars = [Tar::new().file("a", b"1").end()];
    let l = layer(&tars[0], Packing::Gzip);
    let landed = f.receive(&l, l.bytes.len(), End::Right).1.map_err(|s| s.error).unwrap();
    // Held from the moment on in which it landed; a prune leaves it, and does not take it for synced.
    f.store().discard_unfinished(true).unwrap();
    let marks = |f: &Fixture, change: &str| f.store().db().damage(change).unwrap();
    marks(&f, "UPDATE pending_layers SET boot_id = 'another'");
    assert_eq!(f.pending(), 1);
    drop(landed);
    f.reopen();
    assert_eq!(f.pending(), 0, "without its mark it would have been taken for an image's");
    // A machine that tells no boot from another.
    f.whole(&l);
    marks(&f, "UPDATE pending_layers SET boot_id = ''");
    f.reopen();
    assert_eq!(f.pending(), 0);
}

#[test]
fn parts_that_are_about_to_be_gone_on_with_stay() {
    let f = Fixture::new();
    let l = layer(&large(8), Packing::Gzip);
    f.receive(&l, 1 << 20, End::Broken).1.unwrap_err();
    let hold = f.store().hold();
    let before = f.store().room_for(&l.wanted);
    assert_eq!(before, 2 * l.wanted.size - (1 << 20), "what is here needs no room");
    hold.wish(&l.wanted);
    f.store().discard_unfinished(true).unwrap();
    assert_eq!(f.receive(&l, 2 << 20, End::Broken).0, 1 << 20);
    drop(hold);
    f.store().discard_unfinished(true).unwrap();
    assert!(f.ingest().is_empty());
}

#[test]
fn who_waits_for_the_same_bytes_finds_them_or_is_called_off() {
    let f = Fixture::new();
    let l = layer(&large(9), Packing::Gzip);
    let store = f.store();
    let first = f.begin(&l, store.reserve(0).unwrap());
    std::thread::scope(|scope| {
        let off = store.call_off();
        let called = off.clone();
        let given_up = scope.spawn(move || store.receive_layer(l.wanted.clone(), store.reserve(0).unwrap(), off).err());
        called.call();
        assert!(given_up.join().unwrap().is_some_and(|e| e.text().contains("nobody wants")));
        let l = layer(&large(9), Packing::Gzip);
        // The same bytes under another name for what they are.
        let mut other = l.wanted.clone();
        other.media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip".into();
        let waits = scope.spawn(|| store.receive_layer(other, store.reserve(0).unwrap(), store.call_off()).unwrap());
        first.receive(Source(&l.bytes, End::Right), &|_| {}).map_err(|s| s.error).unwrap();
        assert!(matches!(waits.join().unwrap(), Incoming::Here(_)));
    });
}

#[test]
fn a_layer_that_lost_its_files_comes_anew() {
    for keep_blobs in [false, true] {
        let mut f = Fixture::with(StoreConfig { keep_blobs, ..StoreConfig::default() });
        let tars = [large(10)];
        let id = f.image("x", &tars).unwrap();
        std::fs::remove_dir_all(f.tree(&id)).unwrap();
        let l = layer(&tars[0], Packing::Gzip);
        f.whole(&l);
        f.reopen();
        assert!(f.tree(&id).join("after").exists());
        assert_eq!(f.store().verify().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn small_layers_are_begun_anew() {
    let f = Fixture::new();
    let l = layer(&Tar::new().file("a", &[7; 100_000]).end(), Packing::Plain);
    f.receive(&l, 50_000, End::Broken).1.unwrap_err();
    assert!(f.ingest().is_empty());
    assert_eq!(f.receive(&l, l.bytes.len(), End::Right).0, 0);
}

#[test]
fn bytes_that_went_bad_are_thrown_away_once() {
    for packing in [Packing::Plain, Packing::Gzip] {
        let f = Fixture::new();
        let l = layer(&large(4), packing);
        f.receive(&l, 1_500_000, End::Broken).1.unwrap_err();
        // As a power cut may leave it.
        let path = f.root().join("ingest").join(l.wanted.digest.hex());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[1_000_000..1_100_000].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let (at, result) = f.receive(&l, l.bytes.len(), End::Wrong);
        assert!(at == 1_500_000 && result.unwrap_err().again);
        assert!(f.ingest().is_empty());
        let (at, result) = f.receive(&l, l.bytes.len(), End::Wrong);
        assert!(at == 0 && !result.unwrap_err().again, "a second time would be no better");
        assert!(f.ingest().is_empty());
        f.whole(&l);
        // One that is longer than the layer is none of it.
        let l = layer(&large(5), packing);
        let path = f.root().join("ingest").join(l.wanted.digest.hex());
        std::fs::write(path, vec![0; l.bytes.len() + 1]).unwrap();
        assert_eq!(f.receive(&l, l.bytes.len(), End::Right).0, 0);
        f.assert_clean();
    }
}

#[test]
fn what_is_not_what_it_says_never_becomes_a_layer() {
    let tar = Tar::new().file("a", b"1").end();
    let other = Tar::new().file("a", b"2").end();
    let wrong = |change: &dyn Fn(&mut Layer), packing| {
        let mut l = layer(&tar, packing);
        change(&mut l);
        l
    };
    type Row<'a> = (Layer, End, &'a str);
    let rows: Vec<Row<'_>> = vec![
        (
            wrong(&|l| l.wanted.diff_id = Digest::of(&other), Packing::Gzip),
            End::Right,
            "don't match image configuration",
        ),
        (
            wrong(&|l| l.wanted.diff_id = Digest::of(&other), Packing::Plain),
            End::Right,
            "don't match image configuration",
        ),
        (wrong(&|l| l.wanted.media_type = PLAIN.into(), Packing::Gzip), End::Right, "described as"),
        (wrong(&|l| l.wanted.media_type = GZIP.into(), Packing::Zstd), End::Right, "but its bytes are zstd"),
        (wrong(&|l| l.wanted.media_type = ZSTD.into(), Packing::Plain), End::Right, "but its bytes are a plain tar"),
        (wrong(&|l| l.wanted.media_type = "text/html".into(), Packing::Gzip), End::Right, "unsupported media type"),
        (wrong(&|l| l.bytes = b"<html>".repeat(100), Packing::Gzip), End::Right, "no tar, gzip or zstd"),
        (wrong(&|l| l.bytes.truncate(l.bytes.len() - 9), Packing::Gzip), End::Right, "decompress gzip"),
        (wrong(&|_| {}, Packing::Gzip), End::Wrong, ""),
        (wrong(&|_| {}, Packing::Plain), End::Wrong, ""),
        (layer(&Tar::new().file("../../canary", b"x").end(), Packing::Gzip), End::Right, "canary"),
        (layer(&Tar::new().symlink("l", "/").file("l/../../canary", b"x").end(), Packing::Zstd), End::Right, "canary"),
        (layer(&Tar::new().symlink("etc", "/").file("etc/canary", b"x").end(), Packing::Plain), End::Right, ""),
    ];
    for (at, (l, end, word)) in rows.into_iter().enumerate() {
        let f = Fixture::new();
        match f.receive(&l, l.bytes.len(), end).1 {
            Err(spoiled) => assert!(spoiled.error.text().contains(word), "row {at}: {}", spoiled.error),
            // What a link leads to stays inside of the layer.
            Ok(_) => assert!(word.is_empty() && matches!(end, End::Right), "row {at}: was taken"),
        }
        if !word.is_empty() {
            assert_eq!(f.pending(), 0, "row {at}");
            assert!(list(&f.root().join("layers")).is_empty() && f.ingest().is_empty(), "row {at}");
        }
        f.assert_clean();
    }
}

#[test]
fn a_bomb_is_refused_here_too() {
    let limits = Limits { ratio: 50, ratio_from: 1 << 16, ..Limits::default() };
    let f = Fixture::with(StoreConfig { limits, ..StoreConfig::default() });
    for packing in [Packing::Gzip, Packing::Zstd] {
        let l = layer(&Tar::new().file("f", &vec![0; 1 << 20]).end(), packing);
        let spoiled = f.receive(&l, l.bytes.len(), End::Right).1.unwrap_err();
        assert!(spoiled.error.text().contains("ratio of 50"), "{}", spoiled.error);
        f.assert_clean();
    }
}

struct Full;

impl Steward for Full {
    fn room(&self, _: bool) -> Result<Option<u64>> {
        Ok(Some(2000))
    }
    fn make_room(&self, _: u64) -> Result<()> {
        Ok(())
    }
}

#[test]
fn what_finds_no_room_is_not_begun() {
    let f = Fixture::new();
    f.store().set_steward(Box::new(Full));
    let l = layer(&large(6), Packing::Gzip);
    assert!(f.store().room_for(&l.wanted) >= 2 * l.wanted.size, "also for what is written down until it is whole");
    let refused = f.store().reserve(f.store().room_for(&l.wanted)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exhausted);
    // A layer that turns out larger than it was announced.
    let reservation = f.store().reserve(1000).unwrap();
    let spoiled = f.begin(&l, reservation).receive(Source(&l.bytes, End::Right), &|_| {}).unwrap_err();
    assert_eq!(spoiled.error.kind(), ErrorKind::Exhausted);
    assert!(spoiled.error.text().starts_with("not enough space"), "{}", spoiled.error);
    assert!(!spoiled.again && f.ingest().is_empty());
    assert_eq!(f.store().promised(), 0);
    f.assert_clean();
}

#[test]
fn a_name_moves_and_the_old_image_stays() {
    let f = Fixture::new();
    let tars = [Tar::new().file("a", b"1").end(), Tar::new().file("a", b"2").end()];
    let hold = f.store().hold();
    for tar in &tars {
        let l = layer(tar, Packing::Gzip);
        f.whole(&l);
        assert!(hold.layer(&l.wanted).unwrap());
    }
    let old = f.publish(&hold, &tars[..1], &["x"]).unwrap();
    let new = f.publish(&hold, &tars[1..], &["x"]).unwrap();
    assert!(new.changed && new.id != old.id);
    assert_eq!(f.store().resolve("x").unwrap().id, new.id);
    assert!(f.store().resolve(&old.id.to_string()).unwrap().references.is_empty());
    // One that is here gets a name without a byte.
    let by_digest: Reference = format!("x@{}", Digest::of(b"d")).parse().unwrap();
    let names = [by_digest.clone(), "x".parse().unwrap()];
    assert_eq!(f.store().hold().rename(&old.id, &names).unwrap(), Some(true));
    assert_eq!(f.store().hold().rename(&old.id, &names).unwrap(), Some(false));
    // The tag is what counts, if there is one.
    let other: Reference = format!("x@{}", Digest::of(b"other")).parse().unwrap();
    assert_eq!(f.store().hold().rename(&old.id, &[other, "x".parse().unwrap()]).unwrap(), Some(false));
    assert_eq!(f.store().hold().rename(&new.id, &[by_digest]).unwrap(), Some(true));
    assert_eq!(f.store().hold().rename(&Digest::of(b"gone"), &["x".parse().unwrap()]).unwrap(), None);
    assert_eq!(f.store().resolve("x").unwrap().id, old.id);
}

#[test]
fn what_an_index_gave_is_known_for_as_long_as_it_is_here() {
    let f = Fixture::new();
    let tar = Tar::new().file("a", b"1").end();
    let hold = f.store().hold();
    let l = layer(&tar, Packing::Gzip);
    f.whole(&l);
    assert!(hold.layer(&l.wanted).unwrap());
    let id = f.publish(&hold, &[tar], &["x"]).unwrap().id;
    let (top, one, two): (_, Platform, Platform) =
        (Digest::of(b"index"), "linux/amd64".parse().unwrap(), "linux/386".parse().unwrap());
    hold.note(&top, &one, &id).unwrap();
    assert_eq!(hold.resolved(&top, &one).unwrap(), Some(id));
    assert_eq!(hold.resolved(&top, &two).unwrap(), None);
    assert_eq!(hold.resolved(&Digest::of(b"other"), &one).unwrap(), None);
    drop(hold);
    // Of one that is gone nothing is noted.
    f.store().hold().note(&top, &two, &Digest::of(b"gone")).unwrap();
    std::fs::remove_dir_all(f.tree(&id)).unwrap();
    assert_eq!(f.store().hold().resolved(&top, &one).unwrap(), None, "not whole");
    f.store().remove("x", false, &|_| None).unwrap();
    assert_eq!(f.store().hold().resolved(&top, &one).unwrap(), None);
}

#[test]
fn an_archive_takes_over_what_waits() {
    let mut f = Fixture::new();
    let tars = vec![Tar::new().file("a", b"1").end()];
    f.whole(&layer(&tars[0], Packing::Gzip));
    f.load(docker_archive(Some("x"), &config(&tars), &tars)).unwrap();
    f.store().db().damage("UPDATE pending_layers SET boot_id = 'another'").unwrap();
    f.reopen();
    assert_eq!(f.store().verify().unwrap(), Vec::<String>::new());
    assert!(f.tree(&f.store().resolve("x").unwrap().id).join("a").exists());
}

#[test]
fn two_who_want_the_same_bytes_come_one_after_the_other() {
    let f = Fixture::new();
    let l = layer(&large(7), Packing::Gzip);
    let first = f.begin(&l, f.store().reserve(0).unwrap());
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let (at, result) = f.receive(&l, l.bytes.len(), End::Right);
            result.map_err(|s| s.error).unwrap();
            at
        });
        // Broken off, as the first of two pulls that is cancelled while the second begins.
        first.receive(Source(&l.bytes[..1_200_000], End::Broken), &|_| {}).unwrap_err();
        assert_eq!(second.join().unwrap(), 1_200_000);
    });
    assert_eq!(f.pending(), 1);
    f.assert_clean();
}
