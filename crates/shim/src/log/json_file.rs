//! A log in Docker's `json-file` format: one object a line,
//! `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}`.
//!
//! As in Docker, a line longer than 16 KiB is cut into pieces of that length, of which only the last one's text ends
//! with a newline; so does the rest of a stream that ends without one. A crash can tear the last line only: the next
//! start ends it, so readers skip one line that does not parse. Times never go back, whatever the clock does, so that a
//! reader can look for one. What a reader does never lives here, nor what compresses older files.

use super::{MAX_PIECE, Stream, whole_characters};
use crate::clock;
use dhow_types::{Context, Result};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Files kept at most, whatever is configured.
const MAX_FILES: u32 = 1000;

/// An open log.
#[derive(Debug)]
pub struct JsonFile {
    path: PathBuf,
    /// `None` after a rotation that failed; tried again with the next line.
    file: Option<OwnedFd>,
    size: u64,
    max_size: u64,
    max_files: u32,
    /// Older files may be called `.gz`.
    compress: bool,
    /// Its directory, to lock it. `None` where that could not be opened: then nobody else changes names there either.
    dir: Option<OwnedFd>,
    /// When the last line was written, in seconds and nanoseconds since 1970.
    last: (i64, u32),
    /// A file was left for the next one, and nobody was told.
    turned: bool,
    /// `"attrs":{…},`, or nothing; it stands in each line.
    attrs: Box<str>,
    /// The beginning of a line whose end has not come yet, for each stream.
    partial: [Vec<u8>; 2],
    /// Bytes that could not be written, because the disk was full for example.
    lost: u64,
}

impl JsonFile {
    /// Opens, or creates, the file at `path`. It is turned over at `max_size` bytes, if that is not 0, and `max_files`
    /// of them are kept.
    pub fn open(path: &Path, max_size: u64, max_files: u32, attrs: Option<&str>) -> Result<Self> {
        let (file, size) = open_file(path).with_context(|| format!("open the log {}", path.display()))?;
        let mut log = Self {
            path: path.to_owned(),
            file: Some(file),
            size,
            max_size,
            max_files: max_files.clamp(1, MAX_FILES),
            compress: false,
            dir: path.parent().and_then(open_dir),
            last: (i64::MIN, 0),
            turned: false,
            attrs: attrs.map(|a| format!("\"attrs\":{a},")).unwrap_or_default().into(),
            partial: Default::default(),
            lost: 0,
        };
        log.end_torn_line()?;
        log.last = log.last_time().unwrap_or(log.last);
        Ok(log)
    }

    /// Older files are compressed by somebody else, and then called `.gz`.
    pub fn compressed(self) -> Self {
        Self { compress: true, ..self }
    }

    /// Whether a file was left for the next one since the last question, and may be compressed.
    pub fn take_turned(&mut self) -> bool {
        std::mem::take(&mut self.turned) && self.compress
    }

    /// Adds output of `stream`.
    pub fn write(&mut self, stream: Stream, mut data: &[u8]) {
        let time = self.now();
        let mut out = Vec::with_capacity(data.len() + 128);
        while !data.is_empty() {
            let mut partial = std::mem::take(&mut self.partial[stream.index()]);
            let window = data.len().min(MAX_PIECE - partial.len());
            if let Some(end) = data[..window].iter().position(|b| *b == b'\n') {
                let (line, rest) = data.split_at(end + 1);
                if partial.is_empty() {
                    self.emit(&mut out, stream, &time, line);
                } else {
                    partial.extend_from_slice(line);
                    self.emit(&mut out, stream, &time, &partial);
                }
                data = rest;
                continue;
            }
            partial.extend_from_slice(&data[..window]);
            data = &data[window..];
            if partial.len() == MAX_PIECE {
                let cut = whole_characters(&partial);
                self.emit(&mut out, stream, &time, &partial[..cut]);
                partial.drain(..cut);
            }
            if !partial.is_empty() {
                self.partial[stream.index()] = partial;
            }
        }
        self.append(&out);
    }

    /// `stream` has ended: what it left without a newline is written.
    pub fn finish(&mut self, stream: Stream) {
        let rest = std::mem::take(&mut self.partial[stream.index()]);
        if !rest.is_empty() {
            let mut out = Vec::with_capacity(rest.len() + 128);
            let time = self.now();
            self.emit(&mut out, stream, &time, &rest);
            self.append(&out);
        }
    }

    /// Bytes of the file's text that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Adds one object to `out`; before that, makes room when the file has reached its size.
    fn emit(&mut self, out: &mut Vec<u8>, stream: Stream, time: &str, text: &[u8]) {
        if self.max_size > 0 && self.size + out.len() as u64 >= self.max_size {
            self.append(out);
            out.clear();
            if self.size >= self.max_size {
                self.rotate();
            }
        }
        out.extend_from_slice(b"{\"log\":\"");
        escape(text, out);
        out.extend_from_slice(b"\",\"stream\":\"");
        out.extend_from_slice(stream.name().as_bytes());
        out.extend_from_slice(b"\",");
        out.extend_from_slice(self.attrs.as_bytes());
        out.extend_from_slice(b"\"time\":\"");
        out.extend_from_slice(time.as_bytes());
        out.extend_from_slice(b"\"}\n");
    }

    fn append(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if self.file.is_none()
            && let Ok((file, size)) = open_file(&self.path)
        {
            (self.file, self.size) = (Some(file), size);
        }
        let Some(file) = &self.file else {
            self.lost += lines.len() as u64;
            return;
        };
        let mut done = 0;
        while done < lines.len() {
            match rustix::io::write(file, &lines[done..]) {
                Ok(n) if n > 0 => done += n,
                Err(Errno::INTR) => {}
                _ => break,
            }
        }
        // Cut after the last whole line, so that a full disk leaves no torn one.
        let whole = if done == lines.len() {
            done
        } else {
            lines[..done].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1)
        };
        self.size += whole as u64;
        if whole < done {
            let _ = rustix::fs::ftruncate(file, self.size);
        }
        self.lost += (lines.len() - whole) as u64;
    }

    /// `log` becomes `log.1`, `log.1` becomes `log.2`, …; the oldest goes.
    fn rotate(&mut self) {
        let lock = self.dir.as_ref().map(|dir| flock(dir, FlockOperation::NonBlockingLockExclusive));
        if matches!(lock, Some(Err(Errno::WOULDBLOCK))) {
            // Somebody opens the files or gives one another name, and will be done with a later line. The program does
            // not wait for that.
            return;
        }
        self.turn();
        if let Some(dir) = &self.dir {
            let _ = flock(dir, FlockOperation::Unlock);
        }
    }

    fn turn(&mut self) {
        if self.max_files == 1 {
            // Another file in its place: who reads the old one sees that, and reads it to its end.
            let next = beside(&self.path, ".next");
            let _ = std::fs::remove_file(&next);
            if let Ok((file, size)) = open_file(&next)
                && std::fs::rename(&next, &self.path).is_ok()
            {
                (self.file, self.size) = (Some(file), size);
            }
            return;
        }
        let endings = if self.compress { &["", ".gz"][..] } else { &[""] };
        let name = |n: u32, ending: &str| beside(&self.path, &format!(".{n}{ending}"));
        for ending in endings {
            let _ = std::fs::remove_file(name(self.max_files - 1, ending));
        }
        for n in (1..self.max_files - 1).rev() {
            for ending in endings {
                let _ = std::fs::rename(name(n, ending), name(n + 1, ending));
            }
        }
        if std::fs::rename(&self.path, name(1, "")).is_ok() {
            self.turned = true;
            self.file = None;
            if let Ok((file, size)) = open_file(&self.path) {
                (self.file, self.size) = (Some(file), size);
            }
        }
    }

    /// The time, but never an earlier one than that of the last line.
    fn now(&mut self) -> String {
        let now = clock_gettime(ClockId::Realtime);
        self.last = self.last.max((now.tv_sec, now.tv_nsec as u32));
        clock::rfc3339(self.last.0, self.last.1)
    }

    /// When the last line of the file was written.
    fn last_time(&self) -> Option<(i64, u32)> {
        let mut end = [0; 64];
        let from = self.size.saturating_sub(end.len() as u64);
        let n = rustix::io::pread(self.file.as_ref()?, &mut end, from).ok()?;
        let line = std::str::from_utf8(end[..n].strip_suffix(b"\"}\n")?.rsplit(|b| *b == b'"').next()?).ok()?;
        clock::parse(line)
    }

    fn end_torn_line(&mut self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut last = [0; 1];
        if self.size == 0 || rustix::io::pread(file, &mut last, self.size - 1).map_err(std::io::Error::from)? != 1 {
            return Ok(());
        }
        if last[0] != b'\n' {
            self.append(b"\n");
        }
        Ok(())
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn open_dir(path: &Path) -> Option<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
}

fn open_file(path: &Path) -> std::io::Result<(OwnedFd, u64)> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR | Mode::RGRP)?;
    let size = rustix::fs::fstat(&file)?.st_size;
    Ok((file, u64::try_from(size).unwrap_or(0)))
}

/// Adds `text` as the inside of a JSON string. Bytes that are no UTF-8 become U+FFFD.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut from = 0;
        for (at, byte) in valid.iter().enumerate() {
            if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
                continue;
            }
            out.extend_from_slice(&valid[from..at]);
            from = at + 1;
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                other => {
                    out.extend_from_slice(b"\\u00");
                    for digit in [other >> 4, other & 15] {
                        out.push(b"0123456789abcdef"[usize::from(digit)]);
                    }
                }
            }
        }
        out.extend_from_slice(&valid[from..]);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn open(dir: &Path, max_size: u64, max_files: u32) -> JsonFile {
        JsonFile::open(&dir.join("log"), max_size, max_files, None).unwrap()
    }

    /// The texts and streams of a file's lines.
    fn lines(path: &Path) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|v| (v["log"].as_str().unwrap().to_owned(), v["stream"].as_str().unwrap().to_owned()))
            .collect()
    }

    #[test]
    fn lines_are_joined_and_kept_apart_by_stream() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 0, 0);
        log.write(Stream::Stdout, b"one\ntw");
        log.write(Stream::Stderr, b"err \"\\\x01\xff\t\n");
        log.write(Stream::Stdout, b"o\nlast");
        log.finish(Stream::Stdout);
        log.finish(Stream::Stderr);
        let want =
            [("one\n", "stdout"), ("err \"\\\u{1}\u{fffd}\t\n", "stderr"), ("two\n", "stdout"), ("last", "stdout")];
        let got = lines(&dir.path().join("log"));
        assert_eq!(got.iter().map(|(l, s)| (l.as_str(), s.as_str())).collect::<Vec<_>>(), want);
    }

    #[test]
    fn long_lines_are_cut_as_docker_cuts_them() {
        for (len, pieces) in [
            (MAX_PIECE - 1, vec![MAX_PIECE]),
            (MAX_PIECE, vec![MAX_PIECE, 1]),
            (MAX_PIECE + 5, vec![MAX_PIECE, 6]),
            (3 * MAX_PIECE, vec![MAX_PIECE, MAX_PIECE, MAX_PIECE, 1]),
        ] {
            let text = "x".repeat(len) + "\n";
            for step in [1000, 4096, MAX_PIECE, text.len()] {
                let dir = tempfile::tempdir().unwrap();
                let mut log = open(dir.path(), 0, 0);
                text.as_bytes().chunks(step).for_each(|chunk| log.write(Stream::Stdout, chunk));
                let got = lines(&dir.path().join("log"));
                assert_eq!(got.iter().map(|(l, _)| l.len()).collect::<Vec<_>>(), pieces, "{len} by {step}");
                assert_eq!(got.into_iter().map(|(l, _)| l).collect::<String>(), text);
            }
        }
    }

    #[test]
    fn a_cut_spares_characters() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 0, 0);
        let text = "x".to_owned() + &"é".repeat(MAX_PIECE) + "\n";
        log.write(Stream::Stdout, text.as_bytes());
        let got = lines(&dir.path().join("log"));
        assert_eq!(got[0].0.len(), MAX_PIECE - 1);
        assert_eq!(got.into_iter().map(|(l, _)| l).collect::<String>(), text);
    }

    #[test]
    fn rotation_keeps_the_newest_files_and_every_line_in_one_piece() {
        for max_files in [1, 2, 3] {
            let dir = tempfile::tempdir().unwrap();
            let mut log = open(dir.path(), 1000, max_files);
            for n in 0..100 {
                log.write(Stream::Stdout, format!("line {n}\nagain {n}\n").as_bytes());
            }
            let files: Vec<_> =
                (0..10).map(|n| if n == 0 { log.path.clone() } else { beside(&log.path, &format!(".{n}")) }).collect();
            let there = files.iter().filter(|f| f.exists()).count();
            assert_eq!(there, max_files as usize);
            let all: Vec<_> = files[..there].iter().rev().flat_map(|f| lines(f)).map(|(l, _)| l).collect();
            let from = 200 - all.len();
            let want: Vec<_> = (0..100).flat_map(|n| [format!("line {n}\n"), format!("again {n}\n")]).collect();
            assert_eq!(all, want[from..], "a gap or a torn line with {max_files} files");
            for file in &files[..there] {
                assert!(std::fs::metadata(file).unwrap().len() < 1000 + 100);
            }
            assert_eq!(log.lost(), 0);
        }
    }

    #[test]
    fn compressed_files_move_on_with_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 100, 4).compressed();
        let file = |name: &str| dir.path().join(name);
        let mut turn = |n: u32| {
            log.write(Stream::Stdout, format!("{n} {}\n", "x".repeat(100)).as_bytes());
            log.take_turned()
        };
        assert!(!turn(0) && turn(1));
        // As who compresses leaves it; and killed before he removed the other one.
        std::fs::rename(file("log.1"), file("log.1.gz")).unwrap();
        assert!(turn(2));
        std::fs::copy(file("log.1"), file("log.1.gz")).unwrap();
        assert!(turn(3) && turn(4));
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2", "log.3", "log.3.gz"]);
        for (name, n) in [("log", 4), ("log.1", 3), ("log.2", 2), ("log.3", 1), ("log.3.gz", 1)] {
            assert!(lines(&file(name))[0].0.starts_with(&format!("{n} ")), "{name}");
        }
    }

    /// Who gives files other names is not disturbed, and never waited for.
    #[test]
    fn a_locked_directory_puts_turning_off_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 100, 2);
        let lock = open_dir(dir.path()).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        for n in 0..5 {
            log.write(Stream::Stdout, format!("{n} {}\n", "x".repeat(100)).as_bytes());
        }
        assert_eq!(lines(&log.path).len(), 5);
        drop(lock);
        log.write(Stream::Stdout, b"turned\n");
        assert_eq!((lines(&log.path).len(), lines(&beside(&log.path, ".1")).len(), log.lost()), (1, 5, 0));
        // The lock is not kept.
        let lock = open_dir(dir.path()).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    }

    #[test]
    fn one_file_alone_begins_again_as_another() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 100, 1);
        log.write(Stream::Stdout, format!("{}\n", "x".repeat(100)).as_bytes());
        let reader = std::fs::File::open(&log.path).unwrap();
        std::fs::write(beside(&log.path, ".next"), "left by a crash").unwrap();
        log.write(Stream::Stdout, b"new\n");
        assert_eq!(lines(&log.path).len(), 1);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_ne!(std::fs::metadata(&log.path).unwrap().ino(), reader.metadata().unwrap().ino());
        assert!(reader.metadata().unwrap().len() > 100, "who reads the old one still has it");
    }

    #[test]
    fn time_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let later = r#"{"log":"from a clock that was wrong\n","stream":"stdout","time":"2999-01-01T00:00:00.5Z"}"#;
        std::fs::write(dir.path().join("log"), format!("{later}\n")).unwrap();
        let mut log = open(dir.path(), 0, 0);
        log.write(Stream::Stdout, b"after it was put right\n");
        let text = std::fs::read_to_string(&log.path).unwrap();
        assert_eq!(text.matches(r#""time":"2999-01-01T00:00:00.5Z"}"#).count(), 2, "{text}");
    }

    #[test]
    fn attributes_stand_in_every_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let attrs = r#"{"a":"1","tag":"\u003cx\u003e"}"#;
        let mut log = JsonFile::open(&path, 0, 0, Some(attrs)).unwrap();
        log.write(Stream::Stdout, b"one\ntwo\n");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        for line in text.lines() {
            assert!(line.contains(&format!("\"stream\":\"stdout\",\"attrs\":{attrs},\"time\":\"")), "{line}");
            assert_eq!(serde_json::from_str::<Value>(line).unwrap()["attrs"]["tag"], "<x>");
        }
    }

    #[test]
    fn a_torn_line_is_ended_by_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 0, 0).write(Stream::Stdout, b"whole\n");
        let path = dir.path().join("log");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"log\":\"torn");
        std::fs::write(&path, bytes).unwrap();
        open(dir.path(), 0, 0).write(Stream::Stdout, b"after\n");
        let texts: Vec<_> = lines(&path).into_iter().map(|(l, _)| l).collect();
        assert_eq!(texts, ["whole\n", "after\n"]);
    }

    #[test]
    fn a_link_in_the_place_of_the_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join("log")).unwrap();
        assert!(JsonFile::open(&dir.path().join("log"), 0, 0, None).is_err());
    }
}
