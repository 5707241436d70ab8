//! Readers of all kinds of log, over the whole road from files to frames, beside a naive one.

use super::*;
use dhow_types::segment::{Head, RecordHead, starts};
use proptest::prelude::*;
use std::path::Path;

fn request() -> LogsRequest {
    LogsRequest { stdout: true, stderr: true, blocks: true, ..LogsRequest::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// All that is sent, without frames.
fn read(source: Source, request: LogsRequest) -> String {
    runtime().block_on(async {
        let (tx, mut rx) = mpsc::channel(MAX_WAITING);
        let task = tokio::spawn(async move { run(source, request, true, None, &tx).await });
        let mut out = Vec::new();
        while let Some(chunk) = rx.recv().await {
            out.extend(chunk.unwrap());
        }
        task.await.unwrap().unwrap();
        String::from_utf8(out).unwrap()
    })
}

/// A record to be: stream, nanoseconds, text.
type Said = (u8, i64, String);

/// Writes segments of so many records each, and packs all but the newest if asked.
fn write(dir: &Path, said: &[Said], per_segment: usize, pack: bool) {
    for (n, chunk) in said.chunks(per_segment.max(1)).enumerate() {
        let number = n as u32 + 1;
        let head = Head { key: 0x0102_0304_0506_0708 + u64::from(number), time: chunk[0].1 };
        let mut bytes = head.encode().to_vec();
        for (stream, time, text) in chunk {
            let text = text.as_bytes();
            let starts = starts(&[text], false);
            let record =
                RecordHead { time: *time, starts, stream: *stream, continued: false, gap: false, len: text.len() };
            bytes.extend(head.codec().encode(&record, &[text]));
            bytes.extend(text);
        }
        std::fs::write(segment::plain(dir, number), bytes).unwrap();
    }
    if pack {
        packer::pack_all(dir).unwrap();
    }
}

/// What a reader must give, by looking at everything.
fn naive(said: &[Said], request: &LogsRequest) -> String {
    let mut lines: Vec<(u8, i64, &str)> = Vec::new();
    for (stream, time, text) in said {
        lines.extend(text.split_inclusive('\n').map(|line| (*stream, *time, line)));
    }
    let from = request.tail.map_or(0, |n| lines.len().saturating_sub(n as usize));
    let ns = |t: jiff::Timestamp| t.as_nanosecond() as i64;
    lines[from..]
        .iter()
        .filter(|(stream, time, _)| {
            (if *stream == 1 { request.stdout } else { request.stderr })
                && request.since.is_none_or(|t| *time >= ns(t))
                && request.until.is_none_or(|t| *time <= ns(t))
        })
        .map(|(_, time, line)| match request.timestamps {
            true => format!("{:.9} {line}", jiff::Timestamp::from_nanosecond(i128::from(*time)).unwrap()),
            false => (*line).to_owned(),
        })
        .collect()
}

fn at(ns: i64) -> Option<jiff::Timestamp> {
    Some(jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    /// Whatever is asked of whatever log, plain or packed: as if everything had been looked at.
    #[test]
    fn as_a_naive_reader(
        pieces in proptest::collection::vec((1u8..=2, 0i64..3, proptest::collection::vec("[a-z]{0,9}\n", 1..4)), 1..60),
        per_segment in 1usize..25, pack: bool, stdout: bool, timestamps: bool,
        since in proptest::option::of(0i64..80), until in proptest::option::of(0i64..80),
        tail in proptest::option::of(0u64..90),
    ) {
        let mut time = 0;
        let said: Vec<Said> = pieces
            .into_iter()
            .map(|(stream, later, lines)| {
                time += later;
                (stream, time, lines.concat())
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &said, per_segment, pack);
        let request = LogsRequest {
            stdout, timestamps, tail, since: since.and_then(at), until: until.and_then(at), ..request()
        };
        prop_assert_eq!(read(Source::Segments(dir.path().to_owned()), request.clone()), naive(&said, &request));
    }

    /// A damaged byte of a plain segment costs one record at most, wherever it is, and never the rest of the log.
    #[test]
    fn damage(place in any::<prop::sample::Index>(), flip in 1u8.., count in 2usize..40, per_segment in 2usize..40) {
        let dir = tempfile::tempdir().unwrap();
        let said: Vec<Said> = (0..count).map(|n| (1, n as i64, format!("line {n}\n"))).collect();
        write(dir.path(), &said, per_segment, false);
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        let file = &files[place.index(files.len())];
        let mut bytes = std::fs::read(file).unwrap();
        let at = place.index(bytes.len());
        bytes[at] ^= flip;
        std::fs::write(file, bytes).unwrap();
        let text = read(Source::Segments(dir.path().to_owned()), request());
        let lines: Vec<&str> = text.lines().collect();
        prop_assert!(lines.len() + 1 >= count, "{} of {count}", lines.len());
        let all: Vec<String> = (0..count).map(|n| format!("line {n}")).collect();
        let mut left = all.iter();
        prop_assert!(lines.iter().all(|line| left.any(|l| l == line)), "{text}");
    }
}

/// A packed segment of several frames, and another behind it that is not packed; what each record says.
fn of_frames(dir: &Path) -> Vec<Said> {
    let mut seed = 1u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + (seed >> 60) as u8)
    };
    let said: Vec<Said> =
        (0..33).map(|n| (1, n, format!("{n} {}\n", (0..50_000).map(|_| noise()).collect::<String>()))).collect();
    write(dir, &said, 32, true);
    said
}

/// The numbers of the records that are read, after a look at what was asked of the end of the log, which is not damaged.
fn numbers_read(dir: &Path) -> Vec<usize> {
    let source = || Source::Segments(dir.to_owned());
    let last = read(source(), LogsRequest { tail: Some(1), ..request() });
    assert!(last.starts_with("32 ") && last.lines().count() == 1);
    read(source(), request()).lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn damage_of_a_packed_segment_costs_a_frame_at_most() {
    let dir = tempfile::tempdir().unwrap();
    of_frames(dir.path());
    let path = segment::packed(dir.path(), 1);
    let whole = std::fs::read(&path).unwrap();
    let rows = packed::Table::read(&std::fs::File::open(&path).unwrap()).unwrap().1.rows;
    assert!(rows.len() > 4);
    let table = whole.len() - rows.len() * 32 - 40;
    let all: Vec<usize> = (0..33).collect();
    let mut places: Vec<usize> = (0..40).chain((table..whole.len()).step_by(3)).collect();
    places.extend(rows.iter().flat_map(|row| [0, 1, 5, 9, 13, 5_000].map(|more| row.at as usize + more)));
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        let read = numbers_read(dir.path());
        let frame = (40..table).contains(&at);
        assert!(if frame { read.len() + 6 >= all.len() } else { read == all }, "at {at} of {table}: {read:?}");
        // The same with a table that can't be used, so that frames are looked for.
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(numbers_read(dir.path()), read, "at {at} of {table}, without the table");
    }
    // Head, table, and a frame in the middle.
    let mut bytes = whole.clone();
    for at in [20, rows[2].at as usize + 20_000, whole.len() - 1] {
        bytes[at] ^= 0x55;
    }
    std::fs::write(&path, &bytes).unwrap();
    assert!(numbers_read(dir.path()).len() >= 33 - 6);
    // A question for a time is answered from there all the same.
    let asked = LogsRequest { since: at(30), ..request() };
    let text = read(Source::Segments(dir.path().to_owned()), asked);
    assert_eq!(text.lines().map(|l| &l[..3]).collect::<Vec<_>>(), ["30 ", "31 ", "32 "]);
    // And cut off anywhere.
    for len in (0..whole.len()).step_by(whole.len() / 20) {
        std::fs::write(&path, &whole[..len]).unwrap();
        let read = numbers_read(dir.path());
        let frames = rows.iter().filter(|row| row.at <= len as u64).count().saturating_sub(1);
        assert!(read.len() > frames * 4 && read.last() == Some(&32), "{len}: {read:?}");
    }
}

/// More damage than a frame is long, in the middle of a segment: what lies around it is read, before packing and after.
#[test]
fn much_damage_cuts_no_record_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let said: Vec<Said> = (0..120).map(|n| (1, n, format!("{n} {}\n", "x".repeat(99_000)))).collect();
    write(dir.path(), &said, 119, false);
    let path = segment::plain(dir.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    // Up to the record that lies across the place where the longest frame is cut that begins with the damage.
    let mut ends = said.iter().scan(dhow_types::segment::HEAD, |end, (_, _, text)| {
        *end += dhow_types::segment::RECORD_HEAD + text.len();
        Some(*end)
    });
    let begin = ends.nth(9).unwrap();
    let (lost, end) = ends.enumerate().take_while(|(_, end)| *end < begin + packed::MAX_FRAME).last().unwrap();
    bytes[begin..end].fill(b'.');
    std::fs::write(&path, bytes).unwrap();
    let lines = || {
        let text = read(Source::Segments(dir.path().to_owned()), request());
        text.lines().map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap()).collect::<Vec<_>>()
    };
    let before = lines();
    assert_eq!(before, (0..10).chain(11 + lost..120).collect::<Vec<_>>());
    packer::pack_all(dir.path()).unwrap();
    assert!(segment::packed(dir.path(), 1).exists());
    assert_eq!(lines(), before);
}

/// A long log: what a question costs is counted in bytes that are read.
#[test]
fn no_more_is_read_than_must_be() {
    for pack in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        // 12 segments of about 4 MiB: a flood of large records, with a trickle in every second segment.
        let mut said = Vec::new();
        for n in 0..12 * 64 {
            let long = (n / 64) % 2 == 0;
            let text =
                if long { format!("{n:07}{}\n", "x".repeat(120)).repeat(510) } else { format!("{n}\n").repeat(16_000) };
            said.push((1, n, text));
        }
        write(dir.path(), &said, 64, pack);
        let cost = |request: &LogsRequest, want: &str| {
            let mut frames = Frames::new(request, true);
            let mut reader = segments::Reader::open(dir.path(), request, frames.since()).unwrap();
            let mut out = Vec::new();
            loop {
                let filled = reader.fill(&mut frames).unwrap();
                out.extend(frames.take());
                if filled != Fill::More {
                    break;
                }
            }
            assert_eq!(String::from_utf8(out).unwrap(), want, "{request:?}");
            reader.bytes_read()
        };
        for ask in [700, 767, 333] {
            let request = LogsRequest { since: at(ask), until: at(ask), ..request() };
            let bytes = cost(&request, &naive(&said, &request));
            assert!(bytes < 1536 << 10, "a moment: {bytes} bytes were read (packed: {pack})");
        }
        let request = LogsRequest { tail: Some(10), ..request() };
        let bytes = cost(&request, &naive(&said, &request));
        assert!(bytes < 1 << 20, "the last lines: {bytes} bytes were read (packed: {pack})");
        let request = LogsRequest { tail: Some(0), ..request };
        assert!(cost(&request, "") < 256 << 10);
    }
}

/// The last lines begin with a line, also of a stream that is in the middle of one there.
#[test]
fn the_last_lines_have_beginnings() {
    let dir = tempfile::tempdir().unwrap();
    let head = Head { key: 7 << 32, time: 1 };
    let mut bytes = head.encode().to_vec();
    let parts =
        [(1, false, "out xxx"), (2, false, "a\nb\n"), (1, true, "yyy"), (1, true, "zzz\nlast\n"), (2, false, "c\n")];
    for (n, (stream, continued, text)) in parts.into_iter().enumerate() {
        let starts = starts(&[text.as_bytes()], continued);
        let record = RecordHead { time: n as i64, starts, stream, continued, gap: false, len: text.len() };
        bytes.extend(head.codec().encode(&record, &[text.as_bytes()]));
        bytes.extend(text.as_bytes());
    }
    std::fs::write(segment::plain(dir.path(), 1), bytes).unwrap();
    for (tail, want) in [
        (5, "out xxxa\nb\nyyyzzz\nlast\nc\n"),
        (4, "a\nb\nlast\nc\n"),
        (3, "b\nlast\nc\n"),
        (2, "last\nc\n"),
        (1, "c\n"),
    ] {
        let source = Source::Segments(dir.path().to_owned());
        assert_eq!(read(source, LogsRequest { tail: Some(tail), ..request() }), want, "{tail}");
    }
}

/// What is written after a log was opened is for those who follow it: whoever reads a flood comes to an end.
#[test]
fn what_comes_later_is_not_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut said: Vec<Said> = (0..30).map(|n| (1, n, format!("line {n}\n"))).collect();
    write(dir.path(), &said, 10, false);
    let path = dir.path().join("x.log");
    let json =
        |n: i64| format!("{{\"log\":\"line {n}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}}\n");
    std::fs::write(&path, (0..30).map(json).collect::<String>()).unwrap();
    let open = |follow: bool| {
        let request = LogsRequest { follow, ..request() };
        let frames = || Frames::new(&request, true);
        let segments = Source::Segments(dir.path().to_owned()).open(&request, &frames()).unwrap().unwrap();
        let json = Source::Json(path.clone()).open(&request, &frames()).unwrap().unwrap();
        [(segments, frames()), (json, frames())]
    };
    let readers = [open(false), open(true)];
    said.extend((30..400).map(|n| (1, n, format!("line {n}\n"))));
    write(dir.path(), &said, 10, false);
    std::fs::rename(&path, json::rotated(&path, 1)).unwrap();
    std::fs::write(&path, (30..400).map(json).collect::<String>()).unwrap();
    for (follow, kinds) in readers.into_iter().enumerate() {
        for (n, (mut reader, mut frames)) in kinds.into_iter().enumerate() {
            let mut lines = 0;
            while reader.fill(&mut frames).unwrap() == Fill::More {
                lines += frames.take().split_inclusive(|b| *b == b'\n').count();
            }
            lines += frames.take().split_inclusive(|b| *b == b'\n').count();
            assert_eq!(lines, if follow == 1 { 400 } else { 30 }, "{n}");
        }
    }
}

#[test]
fn packing_can_be_killed_at_every_step() {
    let said: Vec<Said> = (0..30).map(|n| (1, n, format!("line {n}\n"))).collect();
    let all = naive(&said, &request());
    let fresh = || {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &said, 10, false);
        dir
    };
    let done = fresh();
    packer::pack_all(done.path()).unwrap();
    let names = |dir: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(done.path()), ["00000001.seg.zst", "00000002.seg.zst", "00000003.seg"]);
    let packed = std::fs::read(segment::packed(done.path(), 1)).unwrap();
    // Before the renaming: any beginning of the file, which the next try replaces. After it: both are there.
    for (name, len) in
        [("00000001.seg.zst.tmp", 0), ("00000001.seg.zst.tmp", packed.len() / 2), ("00000001.seg.zst", packed.len())]
    {
        let dir = fresh();
        std::fs::write(dir.path().join(name), &packed[..len]).unwrap();
        assert_eq!(read(Source::Segments(dir.path().to_owned()), request()), all, "{name} {len}");
        packer::pack_all(dir.path()).unwrap();
        assert_eq!(names(dir.path()), names(done.path()));
        assert_eq!(read(Source::Segments(dir.path().to_owned()), request()), all);
    }
}

#[test]
fn others_can_unpack_it() {
    let dir = tempfile::tempdir().unwrap();
    let said: Vec<Said> = (0..20).map(|n| (1, n, format!("line {n}\n"))).collect();
    write(dir.path(), &said, 10, false);
    let plain = std::fs::read(segment::plain(dir.path(), 1)).unwrap();
    packer::pack_all(dir.path()).unwrap();
    let unpacked = zstd::decode_all(std::fs::File::open(segment::packed(dir.path(), 1)).unwrap()).unwrap();
    assert_eq!(unpacked, plain[dhow_types::segment::HEAD..]);
}

#[test]
fn follows_over_turns_and_packing_until_the_end() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mut said: Vec<Said> = vec![(1, 1, "a\n".into())];
        write(dir.path(), &said, 1, false);
        let (tx, mut rx) = mpsc::channel(MAX_WAITING);
        let (stop, end) = oneshot::channel();
        let source = Source::Segments(dir.path().to_owned());
        let asked = LogsRequest { follow: true, ..request() };
        let task = tokio::spawn(async move { run(source, asked, true, Some(end), &tx).await });
        let mut next = async || String::from_utf8(rx.recv().await.unwrap().unwrap()).unwrap();
        assert_eq!(next().await, "a\n");
        for text in ["b\n", "c\n", "d\n"] {
            said.push((1, said.len() as i64, text.into()));
            write(dir.path(), &said, 1, text == "c\n");
            assert_eq!(next().await, text);
        }
        // The oldest go: the reader is past them.
        std::fs::remove_file(segment::packed(dir.path(), 1)).unwrap();
        said.push((1, 9, "last\n".into()));
        write(dir.path(), &said, 1, false);
        stop.send(WaitResult::default()).unwrap();
        let mut rest = String::new();
        while let Some(chunk) = rx.recv().await {
            rest += std::str::from_utf8(&chunk.unwrap()).unwrap();
        }
        assert!(rest.ends_with("last\n"), "{rest:?}");
        task.await.unwrap().unwrap();
    });
}

mod json_files;
