//! Lawful archives by the number of a seed: everything that an image may hold, many entries that replace earlier ones, and
//! nothing about which two honest readers could differ.
//!
//! So there are no directories that nobody announced or that come twice, and no entry lies behind a link: see `differences_by_design` in the store's
//! tests for what readers make of those.

use crate::{Head, Tar};
use std::collections::BTreeMap;

/// xorshift: the same numbers for the same seed, on every machine.
pub struct Random(u64);

impl Random {
    /// From a seed; neighbours give unlike numbers.
    pub fn new(seed: u64) -> Self {
        let mut this = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| _ = this.below(2));
        this
    }
    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }
    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Dir,
    File,
    Other,
}

/// An archive in the making, and what its tree holds so far.
struct Making {
    random: Random,
    tar: Tar,
    there: BTreeMap<String, There>,
    /// What the entry of each file said of it, since an entry for a hard link says the same of the same file.
    said: BTreeMap<String, Said>,
    whiteouts: bool,
    /// Whether an entry may replace an earlier one.
    replaces: bool,
}

/// Header and extended records.
type Said = (Head, Vec<(&'static str, Vec<u8>)>);

/// How many entries an archive has at most.
const ENTRIES: usize = 60;
/// cap_net_bind_service=ep, as setcap writes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The tar of a layer; with `whiteouts` also of one that deletes from layers below.
pub fn layer(seed: u64, whiteouts: bool) -> Vec<u8> {
    make(seed, whiteouts, true)
}

/// The same without entries that replace others, which Podman refuses.
pub fn distinct(seed: u64, whiteouts: bool) -> Vec<u8> {
    make(seed, whiteouts, false)
}

fn make(seed: u64, whiteouts: bool, replaces: bool) -> Vec<u8> {
    let mut making = Making {
        random: Random::new(seed),
        tar: Tar::new(),
        there: BTreeMap::new(),
        said: BTreeMap::new(),
        whiteouts,
        replaces,
    };
    making.put(Head::new(b'5', "./"), "./", "", &[]);
    for _ in 0..making.random.below(ENTRIES) + 4 {
        making.entry();
    }
    making.tar.end()
}

impl Making {
    /// A directory that is there, and a name in it.
    fn place(&mut self) -> String {
        let dirs: Vec<&String> = self.there.iter().filter(|t| *t.1 == There::Dir).map(|t| t.0).collect();
        let dir = match self.random.below(dirs.len() + 1) {
            0 => String::new(),
            n => format!("{}/", dirs[n - 1]),
        };
        let long = "long-".repeat(40);
        let name =
            self.random.of(&["a", "b", "c", "d", "grün", "with space", "line\nend", ".hidden", &long]).to_owned();
        format!("{dir}{name}")
    }

    /// A path at which a leaf may be put: a new name, or something that is no directory.
    fn leaf(&mut self) -> Option<String> {
        let path = self.place();
        let free = match self.there.get(&path) {
            None => true,
            Some(there) => self.replaces && *there != There::Dir,
        };
        (free && path.len() < 900).then_some(path)
    }

    fn entry(&mut self) {
        let kind = self.random.below(if self.whiteouts { 13 } else { 11 });
        if kind == 0 || (kind < 3 && self.there.len() < 8) {
            let path = self.place();
            // A directory comes once: what tar makes of a second entry hangs on what came between.
            if path.len() < 600 && !self.there.contains_key(&path) {
                self.there.insert(path.clone(), There::Dir);
                self.put(Head::new(b'5', ""), &path, "", &[]);
            }
            return;
        }
        if kind == 12 {
            let dirs: Vec<String> = self.there.iter().filter(|t| *t.1 == There::Dir).map(|t| t.0.clone()).collect();
            if !dirs.is_empty() {
                let path = format!("{}/.wh..wh..opq", dirs[self.random.below(dirs.len())]);
                if !self.replaces && self.there.insert(path.clone(), There::Other).is_some() {
                    return;
                }
                self.put(Head::new(b'0', ""), &path, "", &[]);
            }
            return;
        }
        let Some(path) = self.leaf() else { return };
        let link = match kind {
            3 => {
                let files: Vec<&String> = self.there.iter().filter(|t| *t.1 == There::File).map(|t| t.0).collect();
                if files.is_empty() {
                    return;
                }
                let target = files[self.random.below(files.len())].clone();
                if target == path {
                    return;
                }
                target
            }
            4 | 5 => {
                let long = "target/".repeat(30);
                self.random.of(&["a", "b/c", "../x", "/etc/passwd", ".", "nowhere", &long]).to_owned()
            }
            _ => String::new(),
        };
        let device = [(1, 3), (1, 5), (7, 0), (300, 70_000)][self.random.below(4)];
        let (head, there) = match kind {
            3 => (Head::new(b'1', ""), There::File),
            4 | 5 => (Head::new(b'2', ""), There::Other),
            6 => (Head { device, ..Head::new(b'3', "") }, There::Other),
            7 => (Head { device, ..Head::new(b'4', "") }, There::Other),
            8 => (Head::new(b'6', ""), There::Other),
            11 => {
                // What a layer has itself it does not delete from those below.
                if !self.there.contains_key(&path) {
                    let (dir, name) = path.rsplit_once('/').map_or(("", path.as_str()), |(d, n)| (d, n));
                    let marker = format!("{dir}{}.wh.{name}", if dir.is_empty() { "" } else { "/" });
                    if marker.len() < 900 && name.len() < 200 {
                        self.there.insert(path.clone(), There::Other);
                        self.put(Head::new(b'0', ""), &marker, "", &[]);
                    }
                }
                return;
            }
            _ => (Head::new(b'0', ""), There::File),
        };
        // A whiteout is no entry: nothing may take its place, or tar could not tell.
        let data = if head.kind == b'0' { self.bytes() } else { Vec::new() };
        self.there.insert(path.clone(), there);
        match (head.kind, self.random.below(6)) {
            (b'0', 0) => self.sparse(&path, &data),
            _ => self.put(head, &path, &link, &data),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = [0, 1, 511, 512, 513, 40_000][self.random.below(6)];
        let salt = self.random.below(256);
        (0..length).map(|i| (i * 7 + salt) as u8).collect()
    }

    /// An entry with modes, owners, times and attributes of all kinds; long names in either of two ways.
    fn put(&mut self, mut head: Head, path: &str, link: &str, data: &[u8]) {
        let marker = path.contains(".wh.");
        let hard = head.kind == b'1';
        let mut records: Vec<(&'static str, Vec<u8>)> = Vec::new();
        if let Some((target, its)) = self.said.get(link).filter(|_| hard) {
            head = Head { kind: b'1', ..target.clone() };
            records.clone_from(its);
        }
        if !hard && !marker {
            let link_or_dir = matches!(head.kind, b'2' | b'5');
            // Links have no mode of their own.
            let modes = [0o644, 0o4755, 0o2711, 0o1777, 0o600, 0o6555, 0o000, 0o755];
            head.mode = if head.kind == b'2' { 0o777 } else { modes[self.random.below(modes.len())] };
            head.uid = format!("{:07o}\0", [0, 1000, 65534, 0o777_7777][self.random.below(4)]).into_bytes();
            head.gid = format!("{:07o}\0", [0, 50, 100_000][self.random.below(3)]).into_bytes();
            head.mtime = 1_000_000_000 + self.random.below(500_000_000) as u64;
            match self.random.below(8) {
                0 => records.push(("uid", b"3000000000".to_vec())),
                1 => records.push(("mtime", format!("{}.123456789", head.mtime).into_bytes())),
                2 => records.push(("mtime", b"-77.25".to_vec())),
                3 if !link_or_dir && head.kind == b'0' => {
                    records.push(("SCHILY.xattr.user.note", b"a\0b\n=".to_vec()));
                    records.push(("SCHILY.xattr.trusted.mine", Vec::new()));
                }
                4 if head.kind == b'0' => records.push(("SCHILY.xattr.security.capability", CAPABILITY.to_vec())),
                5 if head.kind == b'5' => records.push(("SCHILY.xattr.user.dir", vec![b'x'; 300])),
                _ => {}
            }
        }
        self.said.insert(path.to_owned(), (head.clone(), records.clone()));
        head.size = data.len() as u64;
        head.name = path.as_bytes().to_vec();
        head.link = link.as_bytes().to_vec();
        let gnu = self.random.below(2) == 0;
        let mut tar = std::mem::take(&mut self.tar);
        for (text, key, kind) in [(path, "path", b'L'), (link, "linkpath", b'K')] {
            match text.len() > 100 || !text.is_ascii() {
                true if gnu => tar = tar.long(kind, text.as_bytes()),
                true => records.push((key, text.as_bytes().to_vec())),
                false => {}
            }
        }
        if !records.is_empty() {
            let records: Vec<(&str, &[u8])> = records.iter().map(|(k, v)| (*k, v.as_slice())).collect();
            tar = tar.pax(&records);
        }
        self.tar = tar.head(head).data(data);
    }

    /// A file with a hole before its data and one after, in pax format 1.0.
    fn sparse(&mut self, path: &str, data: &[u8]) {
        let (before, after) = (4096 * (1 + self.random.below(9)), self.random.below(9000));
        let real = (before + data.len() + after).to_string();
        let map = format!("2\n{before}\n{}\n{real}\n0\n", data.len());
        let mut body = map.into_bytes();
        body.resize(512, 0);
        body.extend_from_slice(data);
        let tar = std::mem::take(&mut self.tar).pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", path.as_bytes()),
            ("GNU.sparse.realsize", real.as_bytes()),
        ]);
        self.tar = tar.head(Head { size: body.len() as u64, ..Head::new(b'0', "GNUSparseFile.0/f") }).data(&body);
    }
}
