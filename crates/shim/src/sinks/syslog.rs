//! Messages of syslog: RFC 3164 and RFC 5424, byte for byte as Docker's driver writes them. No socket lives here.

use super::config::{SyslogConfig, SyslogFormat};
use super::lines::{Piece, Time};
use crate::clock::civil;
use crate::log::Stream;
use std::fmt::Write as _;

/// Severities.
const ERR: u8 = 3;
const INFO: u8 = 6;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The message for one piece; `false` when it is not sent at all, because it is empty.
pub fn encode(config: &SyslogConfig, pid: i32, piece: &Piece<'_>, out: &mut Vec<u8>) -> bool {
    if piece.text.is_empty() {
        return false;
    }
    let severity = if piece.stream == Stream::Stderr { ERR } else { INFO };
    let priority = u32::from(config.facility) * 8 + u32::from(severity);
    let offset = offset(&config.offsets, piece.time.secs);
    let SyslogConfig { tag, hostname, .. } = config;
    let mut head = String::with_capacity(96);
    // Writing to a string cannot fail.
    let _ = match config.format {
        SyslogFormat::Local => write!(head, "<{priority}>{} {tag}[{pid}]: ", stamp(piece.time, offset)),
        SyslogFormat::Rfc3164 => {
            write!(head, "<{priority}>{} {hostname} {tag}[{pid}]: ", stamp(piece.time, offset))
        }
        SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro => {
            let micro = config.format == SyslogFormat::Rfc5424Micro;
            let time = rfc3339(piece.time, offset, micro);
            write!(head, "<{priority}>1 {time} {hostname} {tag} {pid} {tag} - ")
        }
    };
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(piece.text);
    out.push(b'\n');
    true
}

/// How far local time is east of UTC at a moment.
fn offset(offsets: &[(i64, i32)], secs: i64) -> i32 {
    let past = offsets.partition_point(|(from, _)| *from <= secs);
    offsets.get(past.saturating_sub(1)).map_or(0, |(_, offset)| *offset)
}

/// `Jan  2 15:04:05`, in local time.
fn stamp(time: Time, offset: i32) -> String {
    let at = civil(time.secs + i64::from(offset));
    let month = MONTHS[(at.month as usize - 1) % 12];
    format!("{month} {:>2} {:02}:{:02}:{:02}", at.day, at.hour, at.minute, at.second)
}

/// `2006-01-02T15:04:05+02:00`, in local time, `Z` for UTC.
fn rfc3339(time: Time, offset: i32, micro: bool) -> String {
    let at = civil(time.secs + i64::from(offset));
    let mut out =
        format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", at.year, at.month, at.day, at.hour, at.minute, at.second);
    if micro {
        let _ = write!(out, ".{:06}", time.nanos / 1000);
    }
    if offset == 0 {
        out.push('Z');
    } else {
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / 60);
        let _ = write!(out, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::config::SyslogAddress;
    use super::*;

    fn config(format: SyslogFormat, facility: u8, offsets: &[(i64, i32)]) -> SyslogConfig {
        SyslogConfig {
            address: SyslogAddress::Local,
            facility,
            format,
            tag: "web/1".into(),
            hostname: "host7".into(),
            offsets: offsets.to_vec(),
        }
    }

    #[test]
    fn golden_messages() {
        // 2024-02-09 03:04:05.006007008 UTC
        let time = Time { secs: 1_707_447_845, nanos: 6_007_008 };
        let berlin = [(1_698_541_200, 3600), (1_711_846_800, 7200)];
        for (format, facility, offsets, stream, want) in [
            (SyslogFormat::Local, 3, &[][..], Stream::Stdout, "<30>Feb  9 03:04:05 web/1[42]: a line\n"),
            (SyslogFormat::Local, 3, &berlin, Stream::Stderr, "<27>Feb  9 04:04:05 web/1[42]: a line\n"),
            (SyslogFormat::Rfc3164, 16, &berlin, Stream::Stdout, "<134>Feb  9 04:04:05 host7 web/1[42]: a line\n"),
            (
                SyslogFormat::Rfc5424,
                0,
                &[][..],
                Stream::Stderr,
                "<3>1 2024-02-09T03:04:05Z host7 web/1 42 web/1 - a line\n",
            ),
            (
                SyslogFormat::Rfc5424Micro,
                23,
                &[(0, -12_600)],
                Stream::Stdout,
                "<190>1 2024-02-08T23:34:05.006007-03:30 host7 web/1 42 web/1 - a line\n",
            ),
        ] {
            let mut out = Vec::new();
            let piece = Piece { stream, text: b"a line", time, partial: None };
            assert!(encode(&config(format, facility, offsets), 42, &piece, &mut out));
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    #[test]
    fn local_time_follows_its_table() {
        let table = [(100, 1), (200, 2), (300, 3)];
        for (secs, want) in [(0, 1), (100, 1), (199, 1), (200, 2), (299, 2), (300, 3), (9999, 3)] {
            assert_eq!(offset(&table, secs), want, "{secs}");
        }
        assert_eq!(offset(&[], 5), 0);
    }

    #[test]
    fn empty_lines_are_not_sent_and_bytes_are_left_as_they_are() {
        let config = config(SyslogFormat::Local, 1, &[]);
        let piece = |text| Piece { stream: Stream::Stdout, text, time: Time { secs: 0, nanos: 0 }, partial: None };
        let mut out = Vec::new();
        assert!(!encode(&config, 1, &piece(b""), &mut out));
        assert!(out.is_empty());
        assert!(encode(&config, 1, &piece(b"\xff\r"), &mut out));
        assert_eq!(out, b"<14>Jan  1 00:00:00 web/1[1]: \xff\r\n");
    }
}
