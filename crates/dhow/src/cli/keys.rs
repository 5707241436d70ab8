//! The key sequence that detaches from a terminal (`ctrl-p,ctrl-q`), parsed and recognised.

use super::config::{Setting, or_configured};
use anyhow::{Result, bail};

/// Docker's default.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

/// What holds if nothing is given: `detachKeys` of the configuration file, or Docker's default.
pub fn configured() -> String {
    or_configured(None, Setting::DetachKeys).unwrap_or_else(|| DEFAULT.to_owned())
}

/// The bytes of a sequence such as `ctrl-a,x,ctrl-\\`.
pub fn parse(text: &str) -> Result<Vec<u8>> {
    text.split(',')
        .map(|key| {
            let bytes = key.as_bytes();
            match key.strip_prefix("ctrl-").map(str::as_bytes) {
                Some([c @ b'a'..=b'z']) => Ok(c - b'a' + 1),
                Some([c @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Ok(c - b'@'),
                Some(b",") => Ok(b','),
                None if bytes.len() == 1 => Ok(bytes[0]),
                _ => bail!("invalid detach keys {text:?}: {key:?} is neither one character nor ctrl-CHARACTER"),
            }
        })
        .collect()
}

/// Finds the sequence in what is typed, also across reads, and holds a beginning of it back until it is decided.
pub struct Detector {
    keys: Vec<u8>,
    matched: usize,
}

impl Detector {
    /// A detector; without keys it never finds anything.
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// What to send on of `input`, and whether the sequence is complete (then nothing after it counts).
    pub fn feed(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (input.to_vec(), false);
        }
        let mut out = Vec::with_capacity(input.len());
        for &byte in input {
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(byte == self.keys[0] && self.keys.len() > 1);
            if self.matched == 0 {
                out.push(byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        assert_eq!(parse(DEFAULT).unwrap(), [16, 17]);
        assert_eq!(parse("a,ctrl-\\,ctrl-@").unwrap(), [b'a', 28, 0]);
        for bad in ["", "ctrl-", "ctrl-1", "ab"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn found_across_reads_and_given_back_when_broken_off() {
        let mut d = Detector::new(vec![16, 17]);
        assert_eq!(d.feed(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(d.feed(b"b"), (b"\x10b".to_vec(), false));
        assert_eq!(d.feed(b"\x10\x10x"), (b"\x10\x10x".to_vec(), false));
        assert_eq!(d.feed(b"\x10"), (vec![], false));
        assert_eq!(d.feed(b"\x11rest"), (vec![], true));
        assert_eq!(Detector::new(vec![]).feed(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
