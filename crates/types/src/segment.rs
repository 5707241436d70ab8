//! How output is kept in the segments of a log: heads, records, checksums, and how to find the next record behind
//! damage. Bytes only: files are written by the shim and read by the engine.
//!
//! ```text
//!   segment:  head (32 bytes), then records one behind the other
//!   record:   mark u32 | sum u32 | time i64, ns since 1970 | starts u24 | flags u8 | head sum u32 | frame head | text
//!   frame:    stream u8, 0, 0, 0 | length of the text u32, big-endian      as clients get it: Docker's stream format
//! ```
//!
//! Numbers are little-endian where nothing else is said. The mark is drawn for each segment, so that no text can be made
//! that looks like a record; the sums begin with a secret of the segment, too. The head sum covers the head without mark
//! and sum, so that a head can be trusted before its text is read; the sum goes on over the text.

use memchr::memmem;

/// Bytes of a segment's head.
pub const HEAD: usize = 32;
/// Bytes of a record before its text, the frame's head included.
pub const RECORD_HEAD: usize = 32;
/// Bytes of a frame's head, the last ones of a record's.
pub const FRAME_HEAD: usize = 8;
/// The longest text of one record.
pub const MAX_TEXT: usize = 128 << 10;

const MAGIC: &[u8; 8] = b"dhowlog1";
/// The text goes on with a line that an earlier record of its stream began.
const CONTINUED: u8 = 1;
/// The text was not written by the container: it says what was lost.
const GAP: u8 = 2;

/// The head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Drawn at random: the mark and the secret of its sums.
    pub key: u64,
    /// The time of its first record, in nanoseconds since 1970.
    pub time: i64,
}

impl Head {
    /// As it is stored.
    pub fn encode(&self) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        out[..8].copy_from_slice(MAGIC);
        out[8..16].copy_from_slice(&self.key.to_le_bytes());
        out[16..24].copy_from_slice(&self.time.to_le_bytes());
        let sum = sum(0, &out[..24]);
        out[24..28].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// From the first bytes of a segment; `None` when it is not one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..HEAD)?;
        let good = &head[..8] == MAGIC && word(head, 24) == sum(0, &head[..24]);
        good.then(|| Self { key: long(head, 8), time: long(head, 16) as i64 })
    }

    /// Works out what a damaged head held from the first record, which stands at the beginning of `bytes`: it bears the
    /// mark, and a checksum can be counted back to what it began with. `None` if that record is damaged, too.
    pub fn recover(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..RECORD_HEAD)?;
        let secret = sum_back(word(head, 20), &[&head[8..20], &head[24..RECORD_HEAD]]);
        let found = Self { key: u64::from(word(head, 0)) << 32 | u64::from(secret), time: long(head, 8) as i64 };
        // Any bytes have a secret with which their head is right. That their text is right as well, and that of what
        // follows a head can be read, is no accident.
        let At::Record(first) = found.codec().at(bytes) else { return None };
        let rest = &bytes[first.whole()..];
        (rest.len() < RECORD_HEAD || found.codec().find(rest).is_some()).then_some(found)
    }

    /// The codec for its records.
    pub fn codec(&self) -> Codec {
        Codec { mark: ((self.key >> 32) as u32).to_le_bytes(), secret: self.key as u32 }
    }
}

/// What stands before the text of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// Nanoseconds since 1970; never less than that of the record before.
    pub time: i64,
    /// How many lines begin in the text.
    pub starts: u32,
    /// 1 for stdout, 2 for stderr.
    pub stream: u8,
    /// The text goes on with a line that was begun before.
    pub continued: bool,
    /// The text says what was lost, and is not the container's.
    pub gap: bool,
    /// Bytes of the text.
    pub len: usize,
}

impl RecordHead {
    /// Bytes of the whole record.
    pub fn whole(&self) -> usize {
        RECORD_HEAD + self.len
    }
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A whole record.
    Record(RecordHead),
    /// Perhaps the beginning of one, as far as there are bytes; the whole needs at least so many.
    Short(usize),
    /// None.
    Damaged,
}

/// Writes and reads the records of one segment.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    mark: [u8; 4],
    secret: u32,
}

impl Codec {
    /// The bytes before a text, which may be in several parts. `head.len` is theirs together, at most [`MAX_TEXT`].
    pub fn encode(&self, head: &RecordHead, text: &[&[u8]]) -> [u8; RECORD_HEAD] {
        let mut out = [0; RECORD_HEAD];
        out[..4].copy_from_slice(&self.mark);
        out[8..16].copy_from_slice(&head.time.to_le_bytes());
        out[16..19].copy_from_slice(&head.starts.to_le_bytes()[..3]);
        out[19] = if head.continued { CONTINUED } else { 0 } | if head.gap { GAP } else { 0 };
        out[24] = head.stream;
        out[28..].copy_from_slice(&(head.len as u32).to_be_bytes());
        let head_sum = self.head_sum(&out);
        out[20..24].copy_from_slice(&head_sum.to_le_bytes());
        let all = text.iter().fold(head_sum, |state, part| sum(state, part));
        out[4..8].copy_from_slice(&all.to_le_bytes());
        out
    }

    /// Reads a head, whether its text is there and whole or not.
    pub fn head(&self, bytes: &[u8]) -> Option<RecordHead> {
        let head = bytes.get(..RECORD_HEAD)?;
        if head[..4] != self.mark || word(head, 20) != self.head_sum(head) {
            return None;
        }
        let len = u32::from_be_bytes([head[28], head[29], head[30], head[31]]) as usize;
        (len <= MAX_TEXT).then(|| RecordHead {
            time: long(head, 8) as i64,
            starts: u32::from_le_bytes([head[16], head[17], head[18], 0]),
            stream: head[24],
            continued: head[19] & CONTINUED != 0,
            gap: head[19] & GAP != 0,
            len,
        })
    }

    /// What stands at the beginning of `bytes`.
    pub fn at(&self, bytes: &[u8]) -> At {
        if bytes.len() < RECORD_HEAD {
            let known = bytes.len().min(4);
            return if bytes[..known] == self.mark[..known] { At::Short(RECORD_HEAD) } else { At::Damaged };
        }
        let Some(head) = self.head(bytes) else { return At::Damaged };
        let Some(text) = bytes.get(RECORD_HEAD..head.whole()) else { return At::Short(head.whole()) };
        if sum(word(bytes, 20), text) == word(bytes, 4) { At::Record(head) } else { At::Damaged }
    }

    /// The place of the next head that can be trusted, if there is one. Its text may be damaged or not wholly there.
    pub fn find(&self, bytes: &[u8]) -> Option<usize> {
        memmem::find_iter(bytes, &self.mark).find(|at| self.head(&bytes[*at..]).is_some())
    }

    /// Of the head without mark and sum, and without the place of the head sum itself.
    fn head_sum(&self, head: &[u8]) -> u32 {
        sum(sum(self.secret, &head[8..20]), &head[24..RECORD_HEAD])
    }
}

/// How many lines begin in `text`, which goes on with one that was begun before if `continued`.
pub fn starts(parts: &[&[u8]], continued: bool) -> u32 {
    let mut ends = 0;
    let mut last = None;
    for part in parts {
        ends += memchr::memchr_iter(b'\n', part).count() as u32;
        last = part.last().or(last);
    }
    match last {
        None => 0,
        Some(b'\n') => ends - u32::from(continued),
        Some(_) => ends + u32::from(!continued),
    }
}

fn sum(state: u32, bytes: &[u8]) -> u32 {
    zlib_rs::crc32::crc32(state, bytes)
}

/// The state from which [`sum`] over `parts`, one after the other, gives `sum`.
fn sum_back(sum: u32, parts: &[&[u8]]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let mut state = !sum;
    for byte in parts.iter().rev().flat_map(|part| part.iter().rev()) {
        for _ in 0..8 {
            // What was shifted out was a one exactly if the polynomial went in, whose highest bit is set.
            state = if state >> 31 == 1 { ((state ^ POLYNOMIAL) << 1) | 1 } else { state << 1 };
        }
        state ^= u32::from(*byte);
    }
    !state
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: Head = Head { key: 0x1234_5678_9abc_def0, time: 5 };

    fn record(time: i64, stream: u8, text: &[u8]) -> Vec<u8> {
        let head =
            RecordHead { time, starts: starts(&[text], false), stream, continued: false, gap: false, len: text.len() };
        let mut out = KEY.codec().encode(&head, &[text]).to_vec();
        out.extend_from_slice(text);
        out
    }

    /// Time and text of every record, as a reader walks.
    fn walk(bytes: &[u8]) -> Vec<(i64, Vec<u8>)> {
        let codec = KEY.codec();
        let (mut at, mut out) = (0, Vec::new());
        while at < bytes.len() {
            match codec.at(&bytes[at..]) {
                At::Record(head) => {
                    out.push((head.time, bytes[at + RECORD_HEAD..at + head.whole()].to_vec()));
                    at += head.whole();
                }
                At::Short(_) | At::Damaged => match codec.find(&bytes[at + 1..]) {
                    Some(next) => at += 1 + next,
                    None => break,
                },
            }
        }
        out
    }

    #[test]
    fn lines_that_begin() {
        for (parts, continued, want) in [
            (&["a\nb\n"][..], false, 2),
            (&["a\nb\n"], true, 1),
            (&["a\n", "b"], false, 2),
            (&["a\n", "b"], true, 1),
            (&["a", "b"], true, 0),
            (&["\n"], false, 1),
            (&["\n"], true, 0),
            (&["a\n", ""], false, 1),
            (&[], false, 0),
        ] {
            let parts: Vec<&[u8]> = parts.iter().map(|p| p.as_bytes()).collect();
            assert_eq!(starts(&parts, continued), want, "{parts:?} {continued}");
        }
    }

    #[test]
    fn a_head_knows_itself() {
        let bytes = KEY.encode();
        assert_eq!(Head::decode(&bytes), Some(KEY));
        for at in 0..28 {
            let mut bad = bytes;
            bad[at] ^= 4;
            assert_eq!(Head::decode(&bad), None, "{at}");
        }
        assert_eq!(Head::decode(&bytes[..HEAD - 1]), None);
    }

    #[test]
    fn a_lost_head_is_worked_out_from_a_whole_record_only() {
        let one = record(7, 2, b"text\n");
        let bytes = [&one[..], &record(8, 1, b"more text\n")].concat();
        for good in [&one[..], &bytes, &bytes[..bytes.len() - 1], &bytes[..one.len() + 5]] {
            assert_eq!(Head::recover(good), Some(Head { time: 7, ..KEY }));
        }
        for at in 0..one.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            assert_eq!(Head::recover(&bad), None, "{at}");
        }
        assert_eq!(Head::recover(&one[..one.len() - 1]), None);
        assert_eq!(Head::recover(&[7; 100]), None);
    }

    #[test]
    fn the_end_of_a_record_is_a_frame() {
        let bytes = record(7, 2, b"text\n");
        assert_eq!(bytes[RECORD_HEAD - FRAME_HEAD..], *b"\x02\0\0\0\0\0\0\x05text\n");
        let whole = KEY.codec().at(&bytes);
        assert!(matches!(whole, At::Record(RecordHead { time: 7, starts: 1, stream: 2, len: 5, .. })), "{whole:?}");
    }

    /// Text is not taken for a record, not even a record of another segment.
    #[test]
    fn text_that_looks_like_a_record() {
        let other = Head { key: 77 << 32 | 5, time: 0 };
        let text = b"forged\n";
        let head = RecordHead { time: 1, starts: 1, stream: 1, continued: false, gap: false, len: text.len() };
        let mut forged = other.codec().encode(&head, &[text]).to_vec();
        forged.extend_from_slice(text);
        let mut bytes = record(3, 1, &forged);
        bytes.extend(record(4, 1, b"after\n"));
        // The first record's own head is damaged: a reader looks for the next one inside of its text.
        bytes[9] ^= 1;
        assert_eq!(walk(&bytes), [(4, b"after\n".to_vec())]);
    }

    proptest! {
        /// A cut loses what lies behind it and no more; a damaged byte loses the record it lies in and no other.
        #[test]
        fn damage_loses_its_record_alone(
            texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..12),
            place in any::<prop::sample::Index>(), flip in 1u8..,
        ) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for (time, text) in texts.iter().enumerate() {
                bytes.extend(record(time as i64, 1, text));
                ends.push(bytes.len());
            }
            let all: Vec<(i64, Vec<u8>)> = texts.iter().enumerate().map(|(t, x)| (t as i64, x.clone())).collect();
            prop_assert_eq!(walk(&bytes), all.clone());
            let at = place.index(bytes.len());
            let hit = ends.iter().position(|end| at < *end).unwrap();
            prop_assert_eq!(walk(&bytes[..at]), all[..hit].to_vec());
            bytes[at] ^= flip;
            let mut rest = all;
            rest.remove(hit);
            prop_assert_eq!(walk(&bytes), rest);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut marked = KEY.codec().mark.to_vec();
            marked.extend(&bytes);
            walk(&bytes);
            walk(&marked);
            Head::decode(&bytes);
        }
    }
}
