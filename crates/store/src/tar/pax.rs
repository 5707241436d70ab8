//! Extended header records: `LENGTH KEY=VALUE\n`.
//!
//! Rule: POSIX.1-2001 pax, and the keys of star (`SCHILY.xattr.`) and GNU (`GNU.sparse.`).

use crate::names::shown;
use dhow_types::{Error, Result};

/// What the records of one entry say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<i64>,
    pub gid: Option<i64>,
    pub mtime: Option<(i64, u32)>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: SparseRecords,
}

/// The records of GNU's three ways to write a sparse file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SparseRecords {
    /// Major and minor version.
    pub version: (Option<u64>, Option<u64>),
    /// The file's real name.
    pub name: Option<Vec<u8>>,
    /// The file's size with its holes.
    pub real_size: Option<u64>,
    /// Offsets and lengths in turn.
    pub map: Option<Vec<u64>>,
}

/// The most extended attributes on one entry.
const MAX_XATTRS: usize = 1024;

impl Pax {
    /// Adds the records in `data`; later ones count.
    pub(crate) fn read(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let (key, value, rest) = record(data)?;
            data = rest;
            self.set(key, value)?;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let bad = || Error::invalid(format!("extended header: {}={} is malformed", shown(key), shown(value)));
        let no_nul = |v: &[u8]| if v.contains(&0) { Err(bad()) } else { Ok(v.to_vec()) };
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if name.is_empty() || name.contains(&0) {
                return Err(bad());
            }
            self.xattrs.retain(|(n, _)| n != name);
            if self.xattrs.len() == MAX_XATTRS {
                return Err(Error::invalid(format!("more than {MAX_XATTRS} extended attributes on one entry")));
            }
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        let number = || decimal(value).ok_or_else(bad);
        match key {
            b"path" => self.path = Some(no_nul(value)?),
            b"linkpath" => self.link = Some(no_nul(value)?),
            // An empty value takes the record back.
            _ if value.is_empty() => match key {
                b"size" => self.size = None,
                b"uid" => self.uid = None,
                b"gid" => self.gid = None,
                b"mtime" => self.mtime = None,
                _ => {}
            },
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(signed(value).ok_or_else(bad)?),
            b"gid" => self.gid = Some(signed(value).ok_or_else(bad)?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(bad)?),
            b"GNU.sparse.major" => self.sparse.version.0 = Some(number()?),
            b"GNU.sparse.minor" => self.sparse.version.1 = Some(number()?),
            b"GNU.sparse.name" => self.sparse.name = Some(no_nul(value)?),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.real_size = Some(number()?),
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> = value.split(|&b| b == b',').map(decimal).collect();
                self.sparse.map = Some(numbers.ok_or_else(bad)?);
            }
            // Version 0.0 repeats these two in turn.
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.map.get_or_insert_default().push(number()?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The first record: key, value, and what follows.
fn record(data: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let bad = || Error::invalid("extended header: a record is malformed");
    let space = data.iter().take(20).position(|&b| b == b' ').ok_or_else(bad)?;
    let len = decimal(&data[..space]).and_then(|n| usize::try_from(n).ok()).ok_or_else(bad)?;
    if len <= space + 1 || len > data.len() || data[len - 1] != b'\n' {
        return Err(bad());
    }
    let body = &data[space + 1..len - 1];
    let equals = body.iter().position(|&b| b == b'=').ok_or_else(bad)?;
    if equals == 0 {
        return Err(bad());
    }
    Ok((&body[..equals], &body[equals + 1..], &data[len..]))
}

/// A decimal number without sign.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        // The least number has no positive twin.
        Some(rest) => decimal(rest).and_then(|n| 0i64.checked_sub_unsigned(n)),
        None => decimal(text).and_then(|n| i64::try_from(n).ok()),
    }
}

/// Seconds and nanoseconds of `[-]SECONDS[.FRACTION]`; digits beyond nanoseconds are cut.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (whole, fraction) = match text.iter().position(|&b| b == b'.') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanos = 0u32;
    for i in 0..9 {
        nanos = nanos * 10 + u32::from(fraction.get(i).map_or(0, |b| b - b'0'));
    }
    let seconds = signed(whole)?;
    if text.starts_with(b"-") && nanos > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rec(key: &str, value: &str) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let mut len = body + 1;
        while len != body + len.to_string().len() {
            len = body + len.to_string().len();
        }
        format!("{len} {key}={value}\n").into_bytes()
    }

    #[test]
    fn records() {
        let mut p = Pax::default();
        let data = [
            rec("path", "a=b\nc"),
            rec("mtime", "-1.25"),
            rec("uid", "-1"),
            rec("size", "12"),
            rec("SCHILY.xattr.user.x", "v\0w"),
            rec("comment", "x"),
        ]
        .concat();
        p.read(&data).unwrap();
        assert_eq!(p.path.as_deref(), Some(&b"a=b\nc"[..]));
        assert_eq!((p.mtime, p.uid, p.size), (Some((-2, 750_000_000)), Some(-1), Some(12)));
        p.read(&rec("mtime", "-9223372036854775808")).unwrap();
        assert_eq!(p.mtime, Some((i64::MIN, 0)), "a file on some file systems has this time");
        assert_eq!(p.xattrs, [(b"user.x".to_vec(), b"v\0w".to_vec())]);
    }

    #[test]
    fn malformed_records() {
        for bad in [
            &b"x"[..],
            b"9 a=b\n",
            b"6 a=b",
            b"6 a=bX",
            b"6 a b\n",
            b"4 =\n",
            b"0 a=b\n",
            b"3 \n",
            b"99999999999999999999999 a=b\n",
            b"+6 a=b\n",
        ] {
            assert!(Pax::default().read(bad).is_err(), "{}", shown(bad));
        }
        for (k, v) in [
            ("mtime", "-9223372036854775809"),
            ("size", "-1"),
            ("size", "x"),
            ("mtime", "1.x"),
            ("path", "a\0"),
            ("uid", "--1"),
            ("SCHILY.xattr.", "x"),
        ] {
            assert!(Pax::default().read(&rec(k, v)).is_err(), "{k}={v}");
        }
    }
}
