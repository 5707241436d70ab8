//! HTTP/1.1 as far as the tests' servers need it: heads, and bodies by their framing. It checks little: what is wrong on
//! purpose must get through.

use anyhow::{Context as _, Result, bail, ensure};
use std::io::{BufRead, Read, Write};

/// No head is longer.
const MAX_HEAD: usize = 64 << 10;

/// A start line and fields, of a request or of an answer.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The words of the first line.
    pub start: String,
    /// Names in small letters, in their order.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The next head; none where the other side has ended.
    pub fn read(io: &mut impl BufRead) -> Result<Option<Self>> {
        let mut head = Self::default();
        let mut length = 0;
        loop {
            let mut line = Vec::new();
            let most = (MAX_HEAD - length) as u64 + 1;
            if io.take(most).read_until(b'\n', &mut line)? == 0 {
                ensure!(length == 0, "the head broke off");
                return Ok(None);
            }
            length += line.len();
            ensure!(length <= MAX_HEAD, "the head is too long");
            let line = String::from_utf8(line)?;
            let line = line.trim_end();
            match (head.start.is_empty(), line.is_empty()) {
                (true, true) => bail!("a head without a start line"),
                (true, false) => head.start = line.to_owned(),
                (false, true) => return Ok(Some(head)),
                (false, false) => {
                    let (name, value) = line.split_once(':').context("no field")?;
                    head.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
            }
        }
    }

    /// The value of a field, or nothing.
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// Sets a field, or takes it away.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.fields.retain(|(n, _)| n != name);
        self.fields.extend(value.map(|v| (name.to_owned(), v.to_owned())));
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.fields {
            text += &format!("{name}: {value}\r\n");
        }
        (text + "\r\n").into_bytes()
    }

    /// The status, of an answer.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
    }

    /// How long the body of a request is.
    pub fn framing(&self) -> Framing {
        if self.field("transfer-encoding").eq_ignore_ascii_case("chunked") {
            return Framing::Chunked;
        }
        Framing::Length(self.field("content-length").parse().unwrap_or(0))
    }
}

/// How a body's end is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// In pieces, the last of which is empty.
    Chunked,
}

/// Passes a body on, framing included; `to` may refuse.
pub fn pass(framing: Framing, from: &mut impl BufRead, to: &mut impl Write) -> Result<()> {
    match framing {
        Framing::Length(length) => {
            ensure!(std::io::copy(&mut from.take(length), to)? == length, "the body broke off");
        }
        Framing::Chunked => loop {
            let mut line = String::new();
            from.take(MAX_HEAD as u64).read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16).context("a chunk")?;
            to.write_all(line.as_bytes())?;
            // with the line end after it; trailers are sent by nobody here
            ensure!(std::io::copy(&mut from.take(size + 2), to)? == size + 2, "a chunk broke off");
            if size == 0 {
                break;
            }
        },
    }
    to.flush()?;
    Ok(())
}

/// The bytes of an answer's body without their framing, as far as they came, and whether that was all.
pub fn body(head: &Head, io: &mut impl BufRead) -> Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    if head.framing() == Framing::Chunked {
        loop {
            let mut line = String::new();
            if io.read_line(&mut line)? == 0 {
                return Ok((bytes, false));
            }
            let size = u64::from_str_radix(line.trim(), 16).context("a chunk")?;
            let came = io.take(size).read_to_end(&mut bytes)? as u64;
            io.read_line(&mut String::new())?;
            if size == 0 || came < size {
                return Ok((bytes, came == size));
            }
        }
    }
    match head.field("content-length").parse::<u64>() {
        Ok(length) => {
            let came = io.take(length).read_to_end(&mut bytes)? as u64;
            Ok((bytes, came == length))
        }
        Err(_) => {
            io.read_to_end(&mut bytes)?;
            Ok((bytes, true))
        }
    }
}
