//! The file of events: one JSON line each, in two files of bounded size. A line that is torn (a power cut) costs itself.
//! Never here: who listens.

use super::{Event, Mark};
use dhow_types::{Context, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes of one file; the older of two goes when the newer is full.
const MAX_FILE: u64 = 4 << 20;
/// Longest line that is read.
const MAX_LINE: u64 = 1 << 20;
/// Bytes at the end of a file in which its last event is looked for.
const TAIL: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    /// None while it can't be opened.
    file: Option<File>,
    size: u64,
    /// It was said already that nothing can be written.
    told: bool,
}

impl Store {
    /// Opens the files in `dir` and says which the last event there is.
    pub(super) fn open(dir: &Path) -> Result<(Self, Mark)> {
        crate::core::make(dir)?;
        let mut store = Self { dir: dir.to_owned(), file: None, size: 0, told: false };
        let file = store.begin(false).with_context(|| format!("open the events in {}", dir.display()))?;
        let last = last(&store.newer()).or_else(|| last(&store.older())).unwrap_or_default();
        store.file = Some(file);
        Ok((store, last))
    }

    fn newer(&self) -> PathBuf {
        self.dir.join("events.jsonl")
    }

    fn older(&self) -> PathBuf {
        self.dir.join("events.jsonl.1")
    }

    fn begin(&mut self, empty: bool) -> std::io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = File::options();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(self.newer())?;
        if empty {
            file.set_len(0)?;
        }
        self.size = file.metadata()?.len();
        if self.size > 0 {
            let mut byte = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut byte)?;
            if byte != *b"\n" {
                file.write_all(b"\n")?;
                self.size += 1;
            }
        }
        Ok(file)
    }

    /// Writes one. Events are no reason to fail: what can't be written is said once in the daemon's log.
    pub(super) fn append(&mut self, event: &Event) {
        let written = self.try_append(event);
        match written {
            Ok(()) => self.told = false,
            Err(e) => {
                if !self.told {
                    tracing::warn!("events are not kept, only told to those who listen: {e}");
                }
                self.told = true;
            }
        }
    }

    fn try_append(&mut self, event: &Event) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if self.size + line.len() as u64 > MAX_FILE && self.size > 0 {
            std::fs::rename(self.newer(), self.older())?;
            self.file = None;
        }
        if self.file.is_none() {
            self.file = Some(self.begin(false)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let before = self.size;
        match file.write_all(&line) {
            Ok(()) => self.size += line.len() as u64,
            Err(e) => {
                // Half a line would take the next one with it.
                let _ = file.set_len(before);
                return Err(e);
            }
        }
        Ok(())
    }

    /// What there is now, also after both files were replaced.
    pub(super) fn reader(&self) -> Reader {
        let files = [self.older(), self.newer()].map(|path| File::open(path).ok().map(BufReader::new));
        Reader { files: files.into_iter().flatten().collect() }
    }
}

/// The files as they were at one moment, the older one first.
#[derive(Debug)]
pub(super) struct Reader {
    files: VecDeque<BufReader<File>>,
}

impl Reader {
    /// The next events that are wanted, the oldest first, at most `most`; none at the end. Blocks.
    pub(super) fn batch(&mut self, wanted: &dyn Fn(&Event) -> bool, most: usize) -> Result<Vec<Event>> {
        let mut out = Vec::new();
        let mut line = Vec::new();
        while let Some(lines) = self.files.front_mut() {
            line.clear();
            let n = lines.take(MAX_LINE).read_until(b'\n', &mut line).context("read the events")?;
            if n == 0 {
                self.files.pop_front();
                continue;
            }
            // Torn, or being written at this moment: whoever reads it hears of it live.
            let Ok(event) = serde_json::from_slice(&line) else { continue };
            if wanted(&event) {
                out.push(event);
                if out.len() == most {
                    break;
                }
            }
        }
        Ok(out)
    }
}

/// The last event of a file.
fn last(path: &Path) -> Option<Mark> {
    let mut file = File::open(path).ok()?;
    let size = file.metadata().map_or(0, |m| m.len());
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL))).and_then(|_| file.take(TAIL).read_to_end(&mut text)).ok()?;
    let lines = text.split(|b| *b == b'\n').rev();
    let mut events = lines.filter_map(|line| serde_json::from_slice::<Event>(line).ok());
    events.next().map(|e| Mark { number: e.number, time: e.time })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: i64) -> Event {
        let attributes = std::collections::BTreeMap::from([("name".to_owned(), "x".repeat(200))]);
        Event {
            kind: "container".into(),
            action: "start".into(),
            id: "c".into(),
            attributes,
            time: n,
            number: n as u64,
        }
    }

    fn times(store: &Store) -> Vec<i64> {
        let (mut reader, mut all) = (store.reader(), Vec::new());
        loop {
            let batch = reader.batch(&|_| true, 1000).unwrap();
            if batch.is_empty() {
                return all;
            }
            all.extend(batch.iter().map(|e| e.time));
        }
    }

    #[test]
    fn a_torn_line_costs_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, last) = Store::open(dir.path()).unwrap();
        assert_eq!(last, Mark::default());
        store.append(&event(1));
        store.append(&event(2));
        let path = store.newer();
        drop(store);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 7]).unwrap();
        let (mut store, last) = Store::open(dir.path()).unwrap();
        assert_eq!(last, Mark { number: 1, time: 1 });
        store.append(&event(3));
        assert_eq!(times(&store), [1, 3]);
    }

    #[test]
    fn it_stays_bounded_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(dir.path()).unwrap();
        for n in 1..=60_000 {
            store.append(&event(n));
        }
        let bytes: u64 = [store.newer(), store.older()].iter().map(|p| p.metadata().unwrap().len()).sum();
        assert!(bytes <= 2 * MAX_FILE && bytes > MAX_FILE);
        let kept = times(&store);
        assert_eq!(kept.last(), Some(&60_000));
        assert!(kept.windows(2).all(|w| w[1] == w[0] + 1));
        drop(store);
        assert_eq!(Store::open(dir.path()).unwrap().1.number, 60_000);
    }
}
