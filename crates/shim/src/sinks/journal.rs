//! Entries of systemd's journal in its native protocol, with the fields that Docker's driver sets.
//!
//! A field is `NAME=value` and a newline, or, when the value has newlines in it, the name, a newline, the length as a
//! little-endian `u64`, the value and a newline. No socket lives here.

use super::lines::Piece;
use crate::clock;
use crate::log::Stream;
use std::fmt::Write as _;

/// Severities.
const ERR: &str = "3";
const INFO: &str = "6";

/// What is the same for all entries of one container, written once.
#[derive(Debug)]
pub struct Entries {
    fixed: Vec<u8>,
    /// Begins the names of lines in pieces; nobody else's begin so.
    epoch: String,
    /// Entries so far.
    ordinal: u64,
}

impl Entries {
    /// With the fields of every entry. `CONTAINER_LOG_EPOCH` among them also names lines in pieces.
    pub fn new(fields: &[(String, String)]) -> Self {
        let mut fixed = Vec::new();
        for (name, value) in fields {
            field(name, value.as_bytes(), &mut fixed);
        }
        let epoch = fields.iter().find(|(name, _)| name == "CONTAINER_LOG_EPOCH").map(|(_, v)| v.clone());
        Self { fixed, epoch: epoch.unwrap_or_default(), ordinal: 0 }
    }

    /// The entry for one piece.
    pub fn encode(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) {
        self.ordinal += 1;
        field("PRIORITY", if piece.stream == Stream::Stderr { ERR } else { INFO }.as_bytes(), out);
        field("MESSAGE", piece.text, out);
        out.extend_from_slice(&self.fixed);
        field("SYSLOG_TIMESTAMP", clock::rfc3339(piece.time.secs, piece.time.nanos).as_bytes(), out);
        let mut text = String::new();
        let _ = write!(text, "{}", self.ordinal);
        field("CONTAINER_LOG_ORDINAL", text.as_bytes(), out);
        let Some(partial) = piece.partial else { return };
        text.clear();
        // As long as Docker's, and as unlikely to be another's: the epoch is drawn at random for each start.
        let _ = write!(text, "{:.48}{:016x}", self.epoch, partial.line);
        field("CONTAINER_PARTIAL_ID", text.as_bytes(), out);
        text.clear();
        let _ = write!(text, "{}", partial.ordinal);
        field("CONTAINER_PARTIAL_ORDINAL", text.as_bytes(), out);
        field("CONTAINER_PARTIAL_LAST", if partial.last { b"true" } else { b"false" }, out);
        if !partial.last {
            field("CONTAINER_PARTIAL_MESSAGE", b"true", out);
        }
    }
}

fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::lines::{Partial, Time};
    use super::*;

    #[test]
    fn golden_entries() {
        let epoch = "ab".repeat(32);
        let fields = [
            ("CONTAINER_NAME".to_owned(), "web".to_owned()),
            ("CONTAINER_LOG_EPOCH".to_owned(), epoch.clone()),
            ("NOTE".to_owned(), "two\nlines".to_owned()),
        ];
        let mut entries = Entries::new(&fields);
        let time = Time { secs: 1_707_447_845, nanos: 6_000_000 };
        let fixed = format!("CONTAINER_NAME=web\nCONTAINER_LOG_EPOCH={epoch}\nNOTE\n\x09\0\0\0\0\0\0\0two\nlines\n");
        let mut out = Vec::new();
        entries.encode(&Piece { stream: Stream::Stdout, text: b"hello = you", time, partial: None }, &mut out);
        let stamp = "SYSLOG_TIMESTAMP=2024-02-09T03:04:05.006Z\n";
        let want = format!("PRIORITY=6\nMESSAGE=hello = you\n{fixed}{stamp}CONTAINER_LOG_ORDINAL=1\n");
        assert_eq!(String::from_utf8(out).unwrap(), want);

        let mut out = Vec::new();
        let partial = Some(Partial { line: 31, ordinal: 2, last: false });
        entries.encode(&Piece { stream: Stream::Stderr, text: b"", time, partial }, &mut out);
        let id = "ab".repeat(24) + "000000000000001f";
        let want = format!(
            "PRIORITY=3\nMESSAGE=\n{fixed}{stamp}CONTAINER_LOG_ORDINAL=2\nCONTAINER_PARTIAL_ID={id}\n\
             CONTAINER_PARTIAL_ORDINAL=2\nCONTAINER_PARTIAL_LAST=false\nCONTAINER_PARTIAL_MESSAGE=true\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), want);

        let mut out = Vec::new();
        let partial = Some(Partial { line: 31, ordinal: 3, last: true });
        entries.encode(&Piece { stream: Stream::Stderr, text: b"\xff", time, partial }, &mut out);
        assert!(out.ends_with(b"CONTAINER_PARTIAL_ORDINAL=3\nCONTAINER_PARTIAL_LAST=true\n"));
        assert!(out.starts_with(b"PRIORITY=3\nMESSAGE=\xff\n"));
    }
}
