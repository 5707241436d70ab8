//! What is written is read back the same: by this crate's reader and by GNU tar.

use super::super::{Nowhere, Reader};
use super::*;
use proptest::prelude::*;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

fn name() -> impl Strategy<Value = Vec<u8>> {
    let component = prop_oneof![
        4 => "[a-zA-Z0-9._ -]{1,30}".prop_map(String::into_bytes),
        1 => "[äöü€日本\n]{1,20}".prop_map(String::into_bytes),
        1 => "[a-z]{95,220}".prop_map(String::into_bytes),
        1 => prop::collection::vec(128u8..=255, 1..10),
    ];
    let harmless = |c: &Vec<u8>| !matches!(c.as_slice(), b"." | b"..");
    prop::collection::vec(component.prop_filter("dots", harmless), 1..6).prop_map(|parts| parts.join(&b'/'))
}

fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let kind = prop_oneof![
        4 => Just(Kind::File),
        2 => Just(Kind::Dir),
        1 => Just(Kind::Symlink),
        1 => Just(Kind::Hardlink),
        1 => Just(Kind::Char),
        1 => Just(Kind::Block),
        1 => Just(Kind::Fifo),
    ];
    let id = prop_oneof![Just(0u32), 1..70_000u32, Just(0o7_777_777), Just(0o10_000_000), Just(u32::MAX - 1)];
    let seconds = prop_oneof![Just(0i64), -3..3i64, 1..4_000_000_000i64, Just(0o77_777_777_777), Just(1 << 40)];
    let nanos = prop_oneof![Just(0u32), Just(500_000_000), 0..1_000_000_000u32];
    let key = prop_oneof!["user\\.[a-z]{1,8}", Just("security.capability".to_owned())];
    let xattr = (key.prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..200));
    let xattrs = prop::collection::vec(xattr, 0..4);
    let data = prop::collection::vec(any::<u8>(), 0..2000);
    (
        kind,
        name(),
        name(),
        0u32..0o10000,
        (id.clone(), id),
        (seconds, nanos),
        (0..4096u32, 0..1_048_576u32),
        xattrs,
        data,
    )
        .prop_map(|(kind, name, link, mode, (uid, gid), mtime, device, mut xattrs, data)| {
            xattrs.sort();
            xattrs.dedup_by(|a, b| a.0 == b.0);
            let linked = matches!(kind, Kind::Symlink | Kind::Hardlink);
            let node = matches!(kind, Kind::Char | Kind::Block);
            let data = if kind == Kind::File { data } else { Vec::new() };
            let entry = Entry {
                kind,
                name,
                link: if linked { link } else { Vec::new() },
                mode,
                uid,
                gid,
                mtime,
                device: if node { device } else { (0, 0) },
                xattrs,
                size: data.len() as u64,
                sparse: None,
            };
            (entry, data)
        })
}

fn written(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (entry, data) in entries {
        tar.entry(entry).unwrap();
        for piece in data.chunks(700) {
            tar.data(piece).unwrap();
        }
    }
    tar.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_reader_reads_what_was_written(entries in prop::collection::vec(entry(), 0..8)) {
        let bytes = written(&entries);
        prop_assert_eq!(bytes.len() % BLOCK, 0);
        prop_assert_eq!(&bytes, &written(&entries));
        let mut reader = Reader::new(bytes.as_slice(), 1 << 20);
        for (want, data) in &entries {
            let mut got = reader.next(&mut Nowhere).unwrap().unwrap();
            if want.kind == Kind::Dir {
                prop_assert_eq!(got.name.pop(), Some(b'/'));
            }
            let mut content = Vec::new();
            loop {
                let piece = reader.piece().unwrap();
                if piece.is_empty() {
                    break;
                }
                content.extend_from_slice(piece);
                let n = piece.len();
                reader.used(n);
            }
            prop_assert_eq!(&content, data);
            prop_assert_eq!(format!("{got:?}"), format!("{want:?}"));
        }
        prop_assert!(reader.next(&mut Nowhere).unwrap().is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// One directory of entries with different names, so that none is in another's way.
    #[test]
    fn gnu_tar_unpacks_what_was_written(entries in prop::collection::vec(entry(), 1..8)) {
        let mut entries = entries;
        for (i, (entry, _)) in entries.iter_mut().enumerate() {
            let last = entry.name.split(|&b| b == b'/').next_back().unwrap();
            entry.name = [format!("{i}").as_bytes(), &last[..last.len().min(200)]].concat();
            // ext4 has no time after 2446, and user attributes are not for links and nodes.
            entry.mtime.0 = entry.mtime.0.min(0o77_777_777_777);
            if !matches!(entry.kind, Kind::File | Kind::Dir) {
                entry.xattrs.clear();
            }
            entry.xattrs.retain(|x| x.0.starts_with(b"user."));
        }
        let first = entries.iter().find(|e| e.0.kind == Kind::File).map(|e| e.0.name.clone());
        // A hard link follows its target.
        let mut seen = false;
        entries.retain(|(e, _)| {
            seen |= e.kind == Kind::File;
            seen || e.kind != Kind::Hardlink
        });
        for (entry, _) in &mut entries {
            if entry.kind == Kind::Hardlink {
                entry.link = first.clone().unwrap();
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tar");
        std::fs::write(&archive, written(&entries)).unwrap();
        let out = dir.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let run = std::process::Command::new("tar")
            .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "-xf"])
            .arg(&archive)
            .arg("-C")
            .arg(&out)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        prop_assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        for (entry, data) in &entries {
            same_on_disk(&out.join(std::ffi::OsStr::from_bytes(&entry.name)), entry, data, &out)?;
        }
    }
}

fn same_on_disk(path: &Path, entry: &Entry, data: &[u8], out: &Path) -> Result<(), TestCaseError> {
    let meta = std::fs::symlink_metadata(path).map_err(|e| TestCaseError::fail(format!("{path:?}: {e}")))?;
    let kind = meta.file_type();
    match entry.kind {
        Kind::Hardlink => {
            let target = std::fs::metadata(out.join(std::ffi::OsStr::from_bytes(&entry.link))).unwrap();
            prop_assert_eq!(meta.ino(), target.ino());
            return Ok(());
        }
        Kind::File => prop_assert_eq!(&std::fs::read(path).unwrap(), data),
        Kind::Dir => prop_assert!(kind.is_dir()),
        Kind::Fifo => prop_assert!(kind.is_fifo()),
        Kind::Char => prop_assert!(kind.is_char_device()),
        Kind::Block => prop_assert!(kind.is_block_device()),
        Kind::Symlink => {
            let target = std::fs::read_link(path).unwrap();
            prop_assert_eq!(target.as_os_str().as_bytes(), entry.link.as_slice());
        }
    }
    if matches!(entry.kind, Kind::Char | Kind::Block) {
        let got = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
        prop_assert_eq!(got, entry.device);
    }
    if entry.kind != Kind::Symlink {
        prop_assert_eq!(meta.mode() & 0o7777, entry.mode);
    }
    prop_assert_eq!((meta.uid(), meta.gid()), (entry.uid, entry.gid));
    prop_assert_eq!((meta.mtime(), meta.mtime_nsec()), (entry.mtime.0, i64::from(entry.mtime.1)));
    for (key, value) in &entry.xattrs {
        let mut got = vec![0; 4096];
        let n = rustix::fs::lgetxattr(path, key.as_slice(), got.as_mut_slice()).unwrap();
        prop_assert_eq!(&got[..n], value.as_slice());
    }
    Ok(())
}

#[test]
fn what_cannot_be_said_is_refused() {
    let plain = Entry { name: b"x".to_vec(), ..Entry::default() };
    let refused = |e: Entry, words: &str| {
        let error = TarWriter::new(Vec::new()).entry(&e).unwrap_err();
        assert!(error.text().contains(words), "{error}");
    };
    assert!(TarWriter::new(Vec::new()).entry(&plain).is_ok());
    refused(Entry { name: Vec::new(), ..plain.clone() }, "is empty");
    refused(Entry { name: b"a\0b".to_vec(), ..plain.clone() }, "NUL");
    refused(Entry { xattrs: vec![(b"user.a=b".to_vec(), Vec::new())], ..plain.clone() }, "attribute name");
    refused(Entry { kind: Kind::Char, device: (0o10_000_000, 0), ..plain.clone() }, "device number");
    refused(Entry { sparse: Some(Default::default()), ..plain }, "holes");
}

#[test]
fn sizes_are_kept_to() {
    let file = |size| Entry { name: b"x".to_vec(), size, ..Entry::default() };
    let mut tar = TarWriter::new(Vec::new());
    tar.entry(&file(3)).unwrap();
    assert!(tar.data(b"four").unwrap_err().text().contains("more data"));
    assert_eq!(tar.missing(), 3);
    assert!(tar.entry(&file(0)).unwrap_err().text().contains("3 bytes less"));
    assert!(tar.finish().is_err());
    // A size beyond the octal digits goes into a record, and is read back.
    let mut tar = TarWriter::new(Vec::new());
    tar.entry(&file(MAX_LONG + 1)).unwrap();
    let (head, missing) = (tar.out.clone(), tar.missing());
    assert_eq!(missing, MAX_LONG + 1);
    assert_eq!(Reader::new(head.as_slice(), 1 << 20).next(&mut Nowhere).unwrap().unwrap().size, MAX_LONG + 1);
}

#[test]
fn times_before_1970() {
    for (time_in, want) in [
        ((0, 0), "0"),
        ((5, 250_000_000), "5.25"),
        ((-1, 0), "-1"),
        ((-1, 750_000_000), "-0.25"),
        ((-2, 750_000_000), "-1.25"),
        ((1, 1), "1.000000001"),
    ] {
        assert_eq!(time(time_in.0, time_in.1), want);
    }
}
