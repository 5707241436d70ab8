//! The forms in which layers go out: the same bytes each time, from any offset, and never those of a damaged layer.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_store::{Compression, Form, How, Sending, SentLayer, StoreConfig};
use dhow_types::{Digest, Error, ErrorKind, Result};
use std::io::Read as _;
use support::{Fixture, Tar, config, docker_archive, gzip};

const FORMS: [Compression; 5] =
    [Compression::Gzip(1), Compression::Gzip(6), Compression::Gzip(9), Compression::Zstd(1), Compression::Zstd(3)];

/// Bytes that compress a little.
fn noise(n: usize, seed: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9 ^ seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8 & 0x3f
    };
    (0..n).map(|_| next()).collect()
}

/// Of sizes around that of a block.
fn layers() -> Vec<Vec<u8>> {
    let sizes = [0usize, 1, (256 << 10) - 1536, 256 << 10, 3 << 20];
    sizes.iter().enumerate().map(|(i, n)| Tar::new().dir("d").file("d/f", &noise(*n, i as u32)).end()).collect()
}

fn stream(sending: &Sending, layer: &SentLayer, how: &How, from: u64) -> Result<(Vec<u8>, Form)> {
    let (mut all, mut tar) = (Vec::new(), 0);
    let form = sending.stream(layer, how, from, &mut |bytes, at| {
        assert!(at >= tar && at <= layer.tar_size, "{at} after {tar} of {}", layer.tar_size);
        assert!(!bytes.is_empty() && bytes.len() <= 1 << 20);
        tar = at;
        all.extend_from_slice(&bytes);
        Ok(())
    })?;
    Ok((all, form))
}

fn unpacked(bytes: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::Gzip(_) => {
            let mut out = Vec::new();
            // Of one member: not every reader knows more.
            flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
            out
        }
        Compression::Zstd(_) => zstd::decode_all(bytes).unwrap(),
    }
}

#[test]
fn a_stream_is_the_layer_and_the_same_each_time_from_any_offset() {
    let f = Fixture::new();
    let mut layers = layers();
    layers.push(Vec::new());
    let id = f.image("x", &layers).unwrap();
    let sending = f.store().prepare_send(&id).unwrap();
    assert_eq!(sending.config, config(&layers));
    assert_eq!(sending.layers.len(), layers.len());
    for (layer, tar) in sending.layers.iter().zip(&layers) {
        assert_eq!((layer.diff_id, layer.tar_size), (Digest::of(tar), tar.len() as u64));
        for compression in FORMS {
            let how = How::Packed(compression);
            let (all, form) = stream(&sending, layer, &how, 0).unwrap();
            assert!(unpacked(&all, compression) == *tar, "{compression:?} of {}", tar.len());
            assert_eq!((form.digest, form.size), (Digest::of(&all), all.len() as u64));
            assert_eq!(form.media_type, compression.media_type(false));
            let n = all.len() as u64;
            for from in [0, 1, 9, 10, 11, n / 2, n.saturating_sub(9), n - 1, n].into_iter().filter(|from| *from <= n) {
                let (rest, again) = stream(&sending, layer, &how, from).unwrap();
                assert!(rest == all[from as usize..] && again == form, "{compression:?} from {from}");
            }
        }
    }
}

#[test]
fn several_streams_share_the_threads() {
    let f = Fixture::new();
    let layers = layers();
    let id = f.image("x", &layers).unwrap();
    let sending = f.store().prepare_send(&id).unwrap();
    let how = How::Packed(Compression::Gzip(6));
    std::thread::scope(|scope| {
        for (layer, tar) in sending.layers.iter().zip(&layers) {
            let (sending, how) = (&sending, &how);
            scope.spawn(move || {
                let (all, _) = stream(sending, layer, how, 0).unwrap();
                assert!(unpacked(&all, Compression::Gzip(6)) == *tar);
            });
        }
    });
}

#[test]
fn who_takes_no_more_ends_it() {
    let f = Fixture::new();
    let layers = layers();
    let id = f.image("x", &layers).unwrap();
    let sending = f.store().prepare_send(&id).unwrap();
    for compression in FORMS {
        let mut taken = 0;
        let ended = sending.stream(&sending.layers[4], &How::Packed(compression), 0, &mut |_, _| {
            taken += 1;
            if taken > 1 { Err(Error::new(ErrorKind::Unavailable, "enough")) } else { Ok(()) }
        });
        let e = ended.unwrap_err();
        assert!(e.kind() == ErrorKind::Unavailable && e.text().contains("enough"), "{compression:?}: {e}");
        assert_eq!(taken, 2);
    }
}

#[test]
fn a_damaged_layer_has_no_end() {
    for break_it in [(|path| std::fs::write(path, vec![7; 3 << 20]).unwrap()) as fn(std::path::PathBuf), |path| {
        std::fs::remove_file(path).unwrap()
    }] {
        let f = Fixture::new();
        let id = f.image("x", &layers()[4..]).unwrap();
        break_it(f.tree(&id).join("d/f"));
        let sending = f.store().prepare_send(&id).unwrap();
        for compression in FORMS {
            let e = stream(&sending, &sending.layers[0], &How::Packed(compression), 0).unwrap_err();
            assert!(e.kind() == ErrorKind::DataLoss && e.text().contains("damaged"), "{compression:?}: {e}");
        }
    }
}

#[test]
fn what_was_kept_goes_as_it_is() {
    let f = Fixture::with(StoreConfig { keep_blobs: true, ..StoreConfig::default() });
    let layers = layers();
    let packed: Vec<Vec<u8>> = layers.iter().map(|l| gzip(l)).collect();
    let id = f.load(docker_archive(Some("x"), &config(&layers), &packed)).unwrap()[0].id;
    let sending = f.store().prepare_send(&id).unwrap();
    for (layer, blob) in sending.layers.iter().zip(&packed) {
        let form = layer.forms.iter().find(|f| f.kept).unwrap().clone();
        let (all, same) = stream(&sending, layer, &How::Kept(form.clone()), 0).unwrap();
        assert!(all == *blob && same == form);
        let half = blob.len() / 2;
        assert!(stream(&sending, layer, &How::Kept(form), half as u64).unwrap().0 == blob[half..]);
    }
    // One that was changed has no end.
    let layer = &sending.layers[4];
    let form = layer.forms.iter().find(|f| f.kept).unwrap().clone();
    let path = f.root().join("blobs/sha256").join(form.digest.hex());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let e = stream(&sending, layer, &How::Kept(form), 0).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DataLoss, "{e}");
}

#[test]
fn forms_and_where_they_are_is_remembered_within_bounds() {
    let mut f = Fixture::new();
    let layers = layers();
    let id = f.image("x", &layers).unwrap();
    let diff_id = Digest::of(&layers[1]);
    let store = f.store();
    let form = |n: u32| Form {
        digest: Digest::of(format!("form {n}").as_bytes()),
        size: u64::from(n),
        media_type: "application/x+gzip".into(),
        kept: false,
    };
    let known = store.forms(&diff_id).unwrap().len();
    store.note_form(&diff_id, &form(1)).unwrap();
    store.note_form(&diff_id, &form(1)).unwrap();
    assert_eq!(store.forms(&diff_id).unwrap().len(), known + 1);
    assert!(store.forms(&diff_id).unwrap().contains(&form(1)));
    // A layer that is not here has none.
    store.note_form(&Digest::of(b"nobody's"), &form(2)).unwrap();
    assert!(store.forms(&Digest::of(b"nobody's")).unwrap().is_empty());

    let one = form(1).digest;
    store.note_sources(&[one, Digest::of(b"unknown")], "reg:5000", "a/b").unwrap();
    store.note_sources(&[one], "docker.io", "library/c").unwrap();
    let mut sources = store.sources(&one).unwrap();
    sources.sort();
    assert_eq!(sources, [("docker.io".into(), "library/c".into()), ("reg:5000".into(), "a/b".to_owned())]);
    assert!(store.sources(&Digest::of(b"unknown")).unwrap().is_empty());
    store.forget_source(&one, "docker.io", "library/c").unwrap();
    assert_eq!(store.sources(&one).unwrap().len(), 1);
    for n in 0..100 {
        store.note_sources(&[one], "reg:5000", &format!("many/{n}")).unwrap();
        store.note_form(&diff_id, &form(100 + n)).unwrap();
    }
    assert_eq!(store.sources(&one).unwrap().len(), 16);
    let forms = store.forms(&diff_id).unwrap();
    // What was seen somewhere outlives what was not.
    assert!(forms.len() <= 33 && forms[0] == form(1), "{}", forms.len());
    f.reopen();
    assert_eq!(f.store().sources(&one).unwrap().len(), 16);
    f.store().remove("x", false, &|_: &Digest| None).unwrap();
    assert!(f.store().sources(&one).unwrap().is_empty() && f.store().forms(&diff_id).unwrap().is_empty());
    assert!(f.store().prepare_send(&id).is_err());
    f.assert_clean();
}
