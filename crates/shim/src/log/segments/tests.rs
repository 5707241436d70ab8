//! What is written, record by record, and what a crash or a full disk leaves of it.

use super::*;
use dhow_types::segment::At;
use std::path::PathBuf;

/// Of segments into which one long record fits.
const SIZE: u64 = (HEAD + RECORD_HEAD + MAX_TEXT) as u64;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn dir(&self) -> PathBuf {
        self.0.path().join("log")
    }
    fn open(&self, max_size: u64, max_files: u32) -> Segments {
        Segments::open(&self.dir(), max_size, max_files).unwrap()
    }
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(self.dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
    /// Every whole record.
    fn records(&self) -> Vec<(RecordHead, String)> {
        let mut out = Vec::new();
        for name in self.files() {
            let bytes = std::fs::read(self.dir().join(name)).unwrap();
            let codec = Head::decode(&bytes).unwrap().codec();
            let mut at = HEAD;
            while let At::Record(head) = codec.at(&bytes[at..]) {
                out.push((head, String::from_utf8_lossy(&bytes[at + RECORD_HEAD..at + head.whole()]).into_owned()));
                at += head.whole();
            }
        }
        out
    }
    fn texts(&self) -> Vec<(u8, String)> {
        self.records().into_iter().map(|(head, text)| (head.stream, text)).collect()
    }
}

#[test]
fn lines_are_joined_and_kept_apart_by_stream() {
    let place = Place::new();
    let mut log = place.open(SIZE, 2);
    assert!(place.files().is_empty(), "silence costs no file");
    log.write(Stream::Stdout, b"one\ntw");
    log.write(Stream::Stderr, b"err\xff\n");
    log.write(Stream::Stdout, b"o\nthree\nlast");
    log.finish(Stream::Stdout);
    log.finish(Stream::Stderr);
    let want = [(1, "one\n".into()), (2, "err\u{fffd}\n".into()), (1, "two\nthree\n".into()), (1, "last".to_owned())];
    assert_eq!(place.texts(), want);
    assert_eq!(place.records().iter().map(|(head, _)| head.starts).collect::<Vec<_>>(), [1, 1, 2, 1]);
    assert_eq!(log.lost(), 0);
}

#[test]
fn long_lines_are_written_as_they_come() {
    for step in [1000, MAX_PIECE, 64 << 10, 3 * MAX_TEXT] {
        let place = Place::new();
        let mut log = place.open(SIZE, 100);
        let text = "x".repeat(3 * MAX_TEXT) + "\nshort\n";
        text.as_bytes().chunks(step).for_each(|chunk| log.write(Stream::Stdout, chunk));
        let records = place.records();
        assert_eq!(records.iter().map(|(_, text)| text.as_str()).collect::<String>(), text);
        assert_eq!(records.iter().map(|(head, _)| head.starts).sum::<u32>(), 2, "by {step}");
        let first = records.iter().position(|(_, text)| text.contains('\n')).unwrap();
        assert!(records[1..=first].iter().all(|(head, _)| head.continued) && !records[0].0.continued);
    }
}

#[test]
fn the_newest_segments_stay_and_no_line_is_in_two() {
    for max_files in [1, 2, 5] {
        let place = Place::new();
        let mut log = place.open(SIZE, max_files);
        let line = "y".repeat(9_999) + "\n";
        for n in 0..100 {
            log.write(Stream::Stdout, format!("{n:04}{line}").as_bytes());
            assert!(place.files().len() <= max_files as usize);
            for name in place.files() {
                assert!(std::fs::metadata(place.dir().join(name)).unwrap().len() <= SIZE);
            }
        }
        assert!(log.take_turned() && !log.take_turned());
        let texts = place.texts();
        assert_eq!(place.files().len(), max_files as usize);
        let from = 100 - texts.len();
        for (n, (_, text)) in texts.iter().enumerate() {
            assert_eq!(*text, format!("{:04}{line}", n + from));
        }
    }
}

#[test]
fn packed_segments_go_with_the_oldest() {
    let place = Place::new();
    std::fs::create_dir(place.dir()).unwrap();
    std::fs::write(place.dir().join("00000007.seg.zst"), "packed").unwrap();
    std::fs::write(place.dir().join("00000007.seg.zst.tmp"), "left by a packer that was killed").unwrap();
    let mut log = place.open(SIZE, 2);
    log.write(Stream::Stdout, b"new\n");
    assert_eq!(place.files(), ["00000007.seg.zst", "00000007.seg.zst.tmp", "00000008.seg"]);
    log.write(Stream::Stdout, &vec![b'z'; MAX_TEXT]);
    assert_eq!(place.files(), ["00000008.seg", "00000009.seg"]);
}

#[test]
fn the_next_start_goes_on_behind_a_whole_record_only() {
    let place = Place::new();
    place.open(SIZE, 9).write(Stream::Stdout, b"first\n");
    place.open(SIZE, 9).write(Stream::Stdout, b"second\n");
    assert_eq!(place.files().len(), 1);
    let path = place.dir().join("00000001.seg");
    let whole = std::fs::read(&path).unwrap();
    for cut in 1..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let mut log = place.open(SIZE, 9);
        log.write(Stream::Stdout, b"after\n");
        drop(log);
        let next = place.dir().join("00000002.seg");
        // After the head, and after the first record.
        let at_an_end = cut == HEAD || cut == HEAD + RECORD_HEAD + 6;
        assert_eq!(next.exists(), !at_an_end, "cut at {cut}");
        if !at_an_end {
            std::fs::remove_file(next).unwrap();
        }
    }
}

#[test]
fn time_never_goes_back() {
    let place = Place::new();
    let mut log = place.open(SIZE, 9);
    log.last = i64::MAX - 5;
    log.write(Stream::Stdout, b"from a clock that was wrong\n");
    drop(log);
    place.open(SIZE, 9).write(Stream::Stdout, b"after it was put right\n");
    assert_eq!(place.records().iter().map(|(head, _)| head.time).collect::<Vec<_>>(), [i64::MAX - 5; 2]);
}

#[test]
fn what_does_not_fit_on_the_disk_is_counted_and_told_in_its_place() {
    let place = Place::new();
    let mut log = place.open(SIZE, 9);
    log.write(Stream::Stdout, b"before\n");
    let open = log.open.as_mut().unwrap();
    let full = rustix::fs::open("/dev/full", OFlags::WRONLY, Mode::empty()).unwrap();
    let file = std::mem::replace(&mut open.file, full);
    log.write(Stream::Stdout, b"lost\n");
    log.write(Stream::Stderr, b"lost too\n");
    log.open.as_mut().unwrap().file = file;
    log.write(Stream::Stdout, b"after\n");
    assert_eq!(log.lost(), 14);
    let note = "dhow: 14 bytes of output are missing here: they could not be written\n";
    assert_eq!(place.texts(), [(1, "before\n".to_owned()), (2, note.into()), (1, "after\n".into())]);
    assert!(place.records()[1].0.gap);
}

#[test]
fn a_link_in_the_place_of_the_log_is_refused() {
    let place = Place::new();
    std::os::unix::fs::symlink("/tmp", place.dir()).unwrap();
    assert!(Segments::open(&place.dir(), 0, 1).is_err());
}

#[test]
fn a_small_log_is_kept_small_and_its_lines_whole() {
    let place = Place::new();
    let mut log = place.open(5_000, 4);
    let text: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    text.as_bytes().chunks(64 << 10).for_each(|chunk| log.write(Stream::Stdout, chunk));
    let texts = place.texts();
    let kept: String = texts.iter().map(|(_, text)| text.as_str()).collect();
    assert!(text.ends_with(&kept) && (10_000..20_000).contains(&kept.len()), "{}", kept.len());
    assert!(texts.iter().all(|(_, text)| text.ends_with('\n') && text.len() < 5_000));
    assert_eq!(kept.lines().next().unwrap().len(), 5, "the first line is whole");
}
