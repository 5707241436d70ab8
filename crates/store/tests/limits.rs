//! Every named bound, tripped: the error says which, nothing is left, and the same archive within the bound is taken.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_store::{Limits, StoreConfig};
use dhow_types::Digest;
use support::{Fixture, Layout, Packing, Tar, config, docker_archive, docker_of, gzip, layout_of};

fn with(change: impl Fn(&mut Limits)) -> Fixture {
    let mut limits = Limits::default();
    change(&mut limits);
    Fixture::with(StoreConfig { limits, ..StoreConfig::default() })
}

#[test]
fn each_limit_holds_and_leaves_nothing() {
    let many = (0..50).fold(Tar::new(), |t, i| t.file(format!("f{i}"), b"x")).end();
    let dirs = (0..50).fold(Tar::new(), |t, i| t.dir(format!("directory-{i}"))).end();
    let same = (0..50).fold(Tar::new(), |t, _| t.file("f", b"x")).end();
    let big = Tar::new().file("f", &[7; 100_000]).end();
    let garbage = [Tar::new().file("f", b"").end(), vec![1; 100_000]].concat();
    let headers = (0..200).fold(Tar::new(), |t, _| t.pax(&[("comment", &[b'x'; 400])]).file("f", b"")).end();
    let long = Tar::new().pax(&[("path", &[b'n'; 200])]).file("x", b"").end();
    let deep = Tar::new().dir("a/b/c/d").end();
    let plain = |layer: &[u8]| docker_of(layer, Packing::Plain, Some("x"));
    let two = |packing: Packing| {
        let layers = [Tar::new().file("a", &[1; 60_000]).end(), Tar::new().file("b", &[2; 60_000]).end()];
        Layout::new(&config(&layers), &layers.each_ref().map(|l| packing.pack(l)), None).tar()
    };
    let zeros = |packing| layout_of(&Tar::new().file("f", &vec![0; 1 << 20]).end(), packing, None);
    let links = (0..100).fold(Tar::new(), |t, i| t.symlink(format!("{i}"), "t".repeat(90))).end();
    type Change = fn(&mut Limits);
    let rows: Vec<(Change, Vec<u8>, &str, Change)> = vec![
        (|l| l.entries = 49, plain(&many), "the layer has more than 49 entries", |l| l.entries = 50),
        (|l| l.directory_bytes = 2000, plain(&dirs), "names of directories need more than 2000", |_| {}),
        (|l| l.displaced = 48, plain(&same), "more than 48 entries replace earlier ones", |l| l.displaced = 49),
        (|l| l.layer_bytes = 99_999, plain(&big), "the layer has more than 99999 bytes", |l| l.layer_bytes = 103_000),
        (|l| l.layer_bytes = 90_000, plain(&garbage), "the layer has more than 90000 bytes", |_| {}),
        (|l| l.layer_bytes = 90_000, plain(&headers), "the layer has more than 90000 bytes", |_| {}),
        (|l| l.header_bytes = 199, plain(&long), "an extended header of 210 bytes, the limit is 199", |_| {}),
        (|l| l.header_bytes = 800, plain(&long), "the extended headers of one entry have more than 800", |_| {}),
        (|l| l.depth = 3, plain(&deep), "directories are more than 3 deep", |l| l.depth = 4),
        (|l| l.archive_entries = 2, plain(&many), "the archive has more than 2 entries", |l| l.archive_entries = 3),
        (|l| l.document_bytes = 300, plain(&many), "more than 300 bytes of documents", |_| {}),
        (|l| l.document_bytes = 300, links, "more than 300 bytes of documents", |_| {}),
        (|l| l.archive_bytes = 100_000, two(Packing::Plain), "layers of the archive have more than 100000", |_| {}),
        (|l| l.archive_bytes = 100_000, two(Packing::Zstd), "layers of the archive have more than 100000", |_| {}),
        (
            |l| (l.ratio, l.ratio_from) = (50, 1 << 16),
            zeros(Packing::Gzip),
            "the limit is a ratio of 50",
            |l| {
                l.ratio_from = 1 << 21;
                l.ratio = 50;
            },
        ),
        (|l| (l.ratio, l.ratio_from) = (50, 1 << 16), zeros(Packing::Zstd), "the limit is a ratio of 50", |_| {}),
        (
            |l| (l.ratio, l.ratio_from) = (50, 1 << 16),
            Packing::Zstd.pack(&zeros(Packing::Plain)),
            "the limit is a ratio of 50",
            |_| {},
        ),
        (|l| (l.ratio, l.ratio_from) = (2, 1000), two(Packing::Gzip), "the limit is a ratio of 2", |_| {}),
    ];
    for (at, (tight, archive, word, lawful)) in rows.into_iter().enumerate() {
        let f = with(tight);
        let e = f.load(archive.clone()).expect_err(word);
        assert!(e.text().contains(word), "row {at}, {word}: {e}");
        f.assert_clean();
        let f = with(lawful);
        match f.load(archive) {
            // Without the limit this one is refused for being no image at all.
            Err(e) if e.text().contains("not an image archive") => {}
            other => drop(other.unwrap_or_else(|e| panic!("row {at}, {word}: refused within the limit: {e}"))),
        }
        f.assert_clean();
    }
}

/// The ratio is one of the whole archive: a bomb in a compression in a compression is one, too.
#[test]
fn compressions_in_one_another_multiply() {
    let layer = Tar::new().file("f", &vec![0; 4 << 20]).end();
    let inner = layout_of(&layer, Packing::Gzip, None);
    let outer = gzip(&inner);
    assert!(layer.len() / inner.len() < 1000 && layer.len() / outer.len() > 1000);
    let tight = |l: &mut Limits| (l.ratio, l.ratio_from) = (1000, 1 << 20);
    with(tight).load(inner).unwrap();
    let e = with(tight).load(outer).unwrap_err();
    assert!(e.text().contains("ratio of 1000"), "{e}");
}

#[test]
fn compressed_bombs_and_damage() {
    let f = with(|l| l.layer_bytes = 1 << 20);
    // A file of zeros far beyond the limit, and zeros behind the end.
    let inner = Tar::new().file("f", &vec![0; 8 << 20]).end();
    let behind = [Tar::new().file("f", b"1").end(), vec![0; 8 << 20]].concat();
    for tar in [&inner, &behind] {
        for packed in [gzip(tar), zstd::encode_all(tar.as_slice(), 3).unwrap()] {
            assert!(packed.len() < 100_000);
            let archive = docker_archive(None, &config(std::slice::from_ref(tar)), &[packed]);
            let e = f.load(archive).unwrap_err();
            assert!(e.text().contains("limit") || e.text().contains("more than"), "{e}");
            f.assert_clean();
        }
    }
    let good = Tar::new().file("f", &[9; 5000]).end();
    let config = config(std::slice::from_ref(&good));
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
        ("a zstd window beyond the limit", windowed(&good, 28)),
    ] {
        let e = f.load(docker_archive(None, &config, &[bytes])).unwrap_err();
        assert!(e.text().contains("decompress"), "{what}: {e}");
        f.assert_clean();
    }
    // Two members in a row are one stream, with both compressions; so are empty ones, and frames to skip.
    let (a, b) = good.split_at(600);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    let skip = [&0x184d_2a50u32.to_le_bytes()[..], &3u32.to_le_bytes(), b"abc"].concat();
    for joined in [
        [gzip(a), gzip(b)].concat(),
        [gzip(b""), gzip(&good), gzip(b"")].concat(),
        [zstd(a), zstd(b)].concat(),
        [skip.clone(), zstd(a), skip, zstd(b), zstd(b"")].concat(),
        windowed(&good, 27),
    ] {
        f.load(docker_archive(Some("two"), &config, &[joined])).unwrap();
        assert!(f.rebuilt(&Digest::of(&good)) == good);
        f.store().remove("two", false, &|_| None).unwrap();
    }
}

/// A zstd frame that says it needs a window of this power of two.
fn windowed(bytes: &[u8], log: u32) -> Vec<u8> {
    use std::io::Write as _;
    let mut e = zstd::Encoder::new(Vec::new(), 3).unwrap();
    e.window_log(log).unwrap();
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

/// Data that inflates to compressed data, over and over: nobody inflates twice.
#[test]
fn compressed_data_in_compressed_data_ends() {
    let f = Fixture::new();
    let mut bytes = Tar::new().file("f", b"1").end();
    let good = bytes.clone();
    for i in 0..40 {
        bytes = if i % 2 == 0 { gzip(&bytes) } else { Packing::Zstd.pack(&bytes) };
    }
    for archive in [bytes.clone(), docker_archive(None, &config(&[good]), &[bytes])] {
        let e = f.load(archive).unwrap_err();
        assert!(["cut short", "wrong checksum"].iter().any(|w| e.text().contains(w)), "{e}");
        f.assert_clean();
    }
}
