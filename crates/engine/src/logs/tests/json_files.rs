//! Docker's files: turned over, compressed, damaged, emptied, while they are read.

use super::*;

fn line(stream: &str, text: &str, second: u32) -> String {
    format!("{{\"log\":\"{text}\\n\",\"stream\":\"{stream}\",\"time\":\"2024-01-01T00:00:{second:02}.5Z\"}}\n")
}

fn collect(path: &Path, request: LogsRequest) -> Vec<String> {
    read(Source::Json(path.to_owned()), request).lines().map(str::to_owned).collect()
}

fn log() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    std::fs::write(json::rotated(&path, 2), line("stdout", "a", 1)).unwrap();
    std::fs::write(json::rotated(&path, 1), line("stderr", "b", 2) + &line("stdout", "c", 3)).unwrap();
    std::fs::write(&path, line("stdout", "d", 4) + "broken\n" + &line("stderr", "e", 5) + "{\"log\":\"torn").unwrap();
    (dir, path)
}

#[test]
fn all_files_oldest_first_without_the_torn_line() {
    let (_dir, path) = log();
    assert_eq!(collect(&path, request()), ["a", "b", "c", "d", "e"]);
    assert_eq!(collect(&path, LogsRequest { stdout: false, ..request() }), ["b", "e"]);
    assert!(collect(&path.with_extension("none"), request()).is_empty());
}

#[test]
fn tail_crosses_files() {
    let (_dir, path) = log();
    std::fs::write(&path, line("stdout", "d", 4) + &line("stderr", "e", 5)).unwrap();
    for (n, want) in [(0, ""), (1, "e"), (2, "d e"), (3, "c d e"), (4, "b c d e"), (5, "a b c d e"), (9, "a b c d e")] {
        assert_eq!(collect(&path, LogsRequest { tail: Some(n), ..request() }).join(" "), want, "{n}");
    }
}

#[test]
fn times() {
    let (_dir, path) = log();
    let at = |s: u32| format!("2024-01-01T00:00:{s:02}Z").parse().ok();
    assert_eq!(collect(&path, LogsRequest { since: at(3), ..request() }), ["c", "d", "e"]);
    assert_eq!(collect(&path, LogsRequest { until: at(3), ..request() }), ["a", "b"]);
    assert_eq!(
        collect(&path, LogsRequest { timestamps: true, since: at(5), ..request() }),
        ["2024-01-01T00:00:05.500000000Z e"]
    );
}

/// Lines of a log of several files, each of so many lines; every second older file compressed.
fn many(dir: &Path, files: u32, lines: u32) -> PathBuf {
    let path = dir.join("x.log");
    for file in 0..files {
        let text: String = (0..lines)
            .map(|n| {
                let second = file * lines + n;
                let at = jiff::Timestamp::from_second(i64::from(second)).unwrap();
                format!("{{\"log\":\"{second}\\n\",\"stream\":\"stdout\",\"time\":\"{at}\"}}\n")
            })
            .collect();
        let n = files - 1 - file;
        std::fs::write(if n == 0 { path.clone() } else { json::rotated(&path, n) }, text).unwrap();
        if n.is_multiple_of(2) {
            json::pack::pack_all(&path).unwrap();
        }
    }
    // What was packed while `n` was odd is as it was.
    assert_eq!(json::compressed(&path, 2).exists(), files > 2);
    path
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Whatever is asked of however many files, compressed or not: as if everything had been looked at.
    #[test]
    fn as_a_naive_reader(
        files in 1u32..5, lines in 1u32..30, since in proptest::option::of(0i64..150),
        until in proptest::option::of(0i64..150), tail in proptest::option::of(0u64..150), plain: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = many(dir.path(), files, lines);
        if !plain {
            json::pack::pack_all(&path).unwrap();
        }
        let said: Vec<Said> =
            (0..files * lines).map(|n| (1, i64::from(n) * 1_000_000_000, format!("{n}\n"))).collect();
        let second = |s: Option<i64>| s.and_then(|s| jiff::Timestamp::from_second(s).ok());
        let request = LogsRequest { tail, since: second(since), until: second(until), ..request() };
        prop_assert_eq!(read(Source::Json(path), request.clone()), naive(&said, &request));
    }
}

fn fill(reader: &mut json::Reader, frames: &mut Frames) -> String {
    let mut out = Vec::new();
    loop {
        let filled = reader.fill(frames).unwrap();
        out.extend(frames.take());
        if filled != Fill::More {
            return String::from_utf8(out).unwrap();
        }
    }
}

/// A long log: what a question costs is counted in bytes that are read.
#[test]
fn no_more_is_read_than_must_be() {
    let dir = tempfile::tempdir().unwrap();
    let path = many(dir.path(), 3, 200_000);
    json::pack::pack_all(&path).unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size > 10 << 20);
    let cost = |request: &LogsRequest| {
        let mut frames = Frames::new(request, true);
        let mut reader = json::Reader::open(&path, request, frames.since()).unwrap().unwrap();
        let out = fill(&mut reader, &mut frames);
        (out.lines().count(), reader.bytes_read())
    };
    let second = |s: i64| jiff::Timestamp::from_second(s).ok();
    for (from, to) in [(599_940, None), (450_000, second(450_060)), (400_000, second(400_010)), (700_000, None)] {
        let (lines, bytes) = cost(&LogsRequest { since: second(from), until: to, ..request() });
        assert_eq!(lines, to.map_or((600_000 - from).max(0), |to| to.as_second() - from + 1) as usize);
        assert!(bytes < 1 << 20, "since {from}: {bytes} bytes were read");
    }
    let last = LogsRequest { tail: Some(1000), ..request() };
    let (lines, bytes) = cost(&last);
    assert!(lines == 1000 && bytes < 512 << 10, "the last lines: {lines} {bytes}");
    // What is too early is not looked through for the last lines.
    let (lines, bytes) = cost(&LogsRequest { since: second(599_999), tail: Some(500_000), ..request() });
    assert!(lines == 1 && bytes < 512 << 10, "both: {lines} {bytes}");
}

#[test]
fn details_are_what_stands_beside_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let attrs = r#""attrs":{"b":"x y","a":"1"},"time""#;
    std::fs::write(&path, line("stdout", "one", 1).replace("\"time\"", attrs) + &line("stdout", "two", 2)).unwrap();
    assert_eq!(collect(&path, LogsRequest { details: true, ..request() }), ["a=1,b=x+y one", " two"]);
    assert_eq!(collect(&path, request()), ["one", "two"]);
}

/// A line that no shim writes, and a line of labels that is long and lawful.
#[test]
fn a_line_that_is_too_long_costs_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let long = line("stdout", &"x".repeat(3 << 20), 2);
    let attrs = format!("\"attrs\":{{\"a\":\"{}\"}},\"time\"", "y".repeat(256 << 10));
    let lawful = line("stdout", "lawful", 3).replace("\"time\"", &attrs);
    std::fs::write(&path, line("stdout", "a", 1) + &long + &lawful + &line("stdout", "b", 4)).unwrap();
    assert_eq!(collect(&path, request()), ["a", "lawful", "b"]);
}

#[test]
fn a_damaged_compressed_file_costs_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = many(dir.path(), 4, 50);
    json::pack::pack_all(&path).unwrap();
    let damaged = json::compressed(&path, 2);
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20].fill(0xff);
    std::fs::write(&damaged, bytes).unwrap();
    let lines = collect(&path, request());
    assert!(lines[..50].iter().enumerate().all(|(n, line)| *line == n.to_string()));
    assert!(lines[lines.len() - 100..].iter().enumerate().all(|(n, line)| *line == (100 + n).to_string()));
}

/// Files are turned over and compressed while they are read and followed: nothing is missed, nothing comes twice.
#[test]
fn files_that_move_on_are_read_once() {
    let append = |path: &Path, from: u32, to: u32| {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        for n in from..to {
            std::io::Write::write_all(&mut file, line("stdout", &n.to_string(), 1).as_bytes()).unwrap();
        }
    };
    let turn = |path: &Path| {
        for n in (0..4).rev() {
            for (from, to) in [
                (json::rotated(path, n), json::rotated(path, n + 1)),
                (json::compressed(path, n), json::compressed(path, n + 1)),
            ] {
                let from = if n == 0 && from == json::rotated(path, 0) { path.to_owned() } else { from };
                let _ = std::fs::rename(from, to);
            }
        }
    };
    for (turns, pack) in [(1, false), (1, true), (3, false), (3, true)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        append(&path, 0, 10);
        turn(&path);
        append(&path, 10, 20);
        let request = LogsRequest { follow: true, ..request() };
        let mut frames = Frames::new(&request, true);
        let mut reader = json::Reader::open(&path, &request, frames.since()).unwrap().unwrap();
        let mut next = 20;
        let mut all = String::new();
        // Before anything was read, and at the end of what there was.
        for _ in 0..2 {
            append(&path, next, next + 5);
            next += 5;
            for _ in 0..turns {
                turn(&path);
                append(&path, next, next + 7);
                next += 7;
            }
            if pack {
                json::pack::pack_all(&path).unwrap();
            }
            all += &fill(&mut reader, &mut frames);
        }
        let want: String = (0..next).map(|n| format!("{n}\n")).collect();
        assert_eq!(all, want, "{turns} {pack}");
    }
}

/// As an older shim did, or `truncate` by hand: emptied, and grown again beyond the place that was read last.
#[test]
fn a_file_that_was_emptied_and_has_grown_again_is_read_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    for tail in [None, Some(0)] {
        std::fs::write(&path, line("stdout", "a", 1) + &line("stdout", "b", 2)).unwrap();
        let request = LogsRequest { tail, follow: true, ..request() };
        let mut frames = Frames::new(&request, true);
        let mut reader = json::Reader::open(&path, &request, frames.since()).unwrap().unwrap();
        fill(&mut reader, &mut frames);
        let file = std::fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        let more: String = (0..60).map(|n| line("stdout", &format!("new {n}"), n)).collect();
        std::io::Write::write_all(&mut &file, more.as_bytes()).unwrap();
        let got = fill(&mut reader, &mut frames);
        assert_eq!((got.lines().count(), got.lines().next()), (60, Some("new 0")), "{tail:?}");
        assert_eq!(fill(&mut reader, &mut frames), "");
    }
}

#[test]
fn follows_through_a_rotation_until_the_end() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        std::fs::write(&path, line("stdout", "a", 1)).unwrap();
        let (tx, mut rx) = mpsc::channel(MAX_WAITING);
        let (stop, end) = oneshot::channel();
        let (p, r) = (path.clone(), LogsRequest { follow: true, ..request() });
        let task = tokio::spawn(async move { run(Source::Json(p), r, true, Some(end), &tx).await });
        let mut next = async || String::from_utf8(rx.recv().await.unwrap().unwrap()).unwrap();
        assert_eq!(next().await, "a\n");
        std::fs::rename(&path, json::rotated(&path, 1)).unwrap();
        std::fs::write(&path, line("stdout", "b", 2)).unwrap();
        assert_eq!(next().await, "b\n");
        use std::io::Write;
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(line("stdout", "c", 3).as_bytes())
            .unwrap();
        stop.send(WaitResult::default()).unwrap();
        assert_eq!(next().await, "c\n");
        assert!(rx.recv().await.is_none());
        task.await.unwrap().unwrap();
    });
}
