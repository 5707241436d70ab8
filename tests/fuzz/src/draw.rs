//! Archives drawn from bytes: every input is an archive whose headers are well formed, so that the fuzzer's changes go
//! into what entries do to one another, not into what a header looks like.

use crate::place::CANARY;
use dhow_corpus::{Head, Tar};

/// Names that mean something, and a few that only meet each other often.
const COMPONENTS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    ".",
    "..",
    "",
    ".wh.a",
    ".wh.b",
    ".wh..wh..opq",
    ".wh..wh.plnk",
    ".wh.",
    ".wh...",
    "é",
    "a b",
    "longer-name-than-the-others",
];
const KINDS: &[u8] = b"00015522346L7xgSKA\0";
const KEYS: &[&str] = &[
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "mtime",
    "SCHILY.xattr.user.a",
    "SCHILY.xattr.trusted.a",
    "SCHILY.xattr.trusted.overlay.opaque",
    "SCHILY.xattr.trusted.overlay.redirect",
    "SCHILY.xattr.security.capability",
    "SCHILY.xattr.system.posix_acl_default",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.realsize",
    "GNU.sparse.map",
    "GNU.sparse.offset",
    "GNU.sparse.numbytes",
    "GNU.sparse.size",
    "comment",
];
/// The most entries of one archive.
const ENTRIES: usize = 48;

/// Takes choices off the front of the input; at its end every choice is the first.
struct Draw<'a>(&'a [u8]);

impl Draw<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }
    fn number(&mut self) -> u64 {
        match self.byte() {
            0..=127 => u64::from(self.byte()),
            128..=220 => u64::from(self.byte()) << 8 | u64::from(self.byte()),
            221..=240 => (1 << self.byte().min(63)) - u64::from(self.byte() & 1),
            _ => u64::MAX - u64::from(self.byte()),
        }
    }
    fn name(&mut self) -> Vec<u8> {
        let shape = self.byte();
        if shape == 255 {
            return CANARY.into();
        }
        let mut name = if shape & 0x10 != 0 { "/".to_owned() } else { String::new() };
        for i in 0..=shape & 3 {
            if i > 0 {
                name.push('/');
            }
            name.push_str(self.of(COMPONENTS));
        }
        name.into_bytes()
    }
    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()) % 32;
        let taken = length.min(self.0.len());
        let (bytes, rest) = self.0.split_at(taken);
        self.0 = rest;
        bytes.to_vec()
    }
    fn value(&mut self, key: &str) -> Vec<u8> {
        // Now and then something else than what belongs there.
        if self.byte() & 7 == 7 {
            return self.bytes();
        }
        match key {
            "path" | "linkpath" | "GNU.sparse.name" => self.name(),
            "size"
            | "uid"
            | "gid"
            | "GNU.sparse.realsize"
            | "GNU.sparse.size"
            | "GNU.sparse.offset"
            | "GNU.sparse.numbytes" => self.number().to_string().into(),
            "GNU.sparse.major" | "GNU.sparse.minor" => (self.byte() & 1).to_string().into(),
            "GNU.sparse.map" => {
                let numbers: Vec<String> = (0..self.byte() % 8).map(|_| self.number().to_string()).collect();
                numbers.join(",").into()
            }
            "mtime" => {
                format!("{}{}.{}", if self.byte() & 1 == 1 { "-" } else { "" }, self.number(), self.byte()).into()
            }
            _ => self.bytes(),
        }
    }
}

/// The archive that these bytes mean.
pub fn archive(input: &[u8]) -> Vec<u8> {
    let mut draw = Draw(input);
    let mut tar = Tar::new();
    for _ in 0..ENTRIES {
        if draw.0.is_empty() {
            break;
        }
        tar = entry(tar, &mut draw);
    }
    tar.end()
}

fn entry(tar: Tar, draw: &mut Draw<'_>) -> Tar {
    let kind = draw.of(KINDS);
    match kind {
        b'x' | b'g' => {
            let mut records = Vec::new();
            for _ in 0..=draw.byte() % 4 {
                let key = draw.of(KEYS);
                records.push((key, draw.value(key)));
            }
            let records: Vec<(&str, &[u8])> = records.iter().map(|(k, v)| (*k, v.as_slice())).collect();
            tar.pax(&records)
        }
        b'L' | b'K' => tar.long(kind, &draw.name()),
        _ => {
            let mut head = Head { link: draw.name(), ..Head::new(kind, draw.name()) };
            head.mode = u32::from(draw.byte()) << 4 | 0o4;
            head.mtime = draw.number() & ((1 << 33) - 1);
            head.uid = format!("{:07o}\0", draw.byte()).into();
            head.gnu = draw.byte() & 1 == 1;
            head.device = (u32::from(draw.byte() & 3), u32::from(draw.byte() & 3));
            let data = if matches!(kind, b'0' | b'7' | b'S' | 0 | b'A') { draw.bytes() } else { Vec::new() };
            head.size = data.len() as u64;
            tar.head(head).data(&data)
        }
    }
}
