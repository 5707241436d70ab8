//! The detach keys of one client: which of its bytes reach the container. Pure.

/// ctrl-p ctrl-q, Docker's default.
const DEFAULT: [u8; 2] = [0x10, 0x11];
/// The longest sequence; a longer one is cut.
const MAX_KEYS: usize = 32;

/// Watches one client's input for its detach sequence. Bytes that may be its beginning are held back until it is
/// clear that they are not.
#[derive(Debug)]
pub struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// For `keys`; `None` means the default, empty means that no sequence detaches.
    pub fn new(keys: Option<&[u8]>) -> Self {
        let keys = keys.unwrap_or(&DEFAULT);
        Self { keys: keys[..keys.len().min(MAX_KEYS)].to_vec(), matched: 0 }
    }

    /// Appends to `out` what of `input` is for the container. True when the sequence was completed; what follows it
    /// is dropped.
    pub fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            out.extend_from_slice(input);
            return false;
        }
        for &byte in input {
            while self.matched > 0 && self.keys[self.matched] != byte {
                self.fall_back(out);
            }
            if self.keys[self.matched] != byte {
                out.push(byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                self.matched = 0;
                return true;
            }
        }
        false
    }

    /// The held-back bytes cannot be the sequence from their first byte on: lets go of as many as needed for the rest
    /// to be a beginning of it again.
    fn fall_back(&mut self, out: &mut Vec<u8>) {
        let held = self.matched;
        for start in 1..=held {
            if self.keys[start..held] == self.keys[..held - start] {
                out.extend_from_slice(&self.keys[..start]);
                self.matched = held - start;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that came through, and whether the client was detached; fed whole and byte by byte.
    fn run(keys: Option<&[u8]>, input: &[u8]) -> (Vec<u8>, bool) {
        let mut whole = Vec::new();
        let detached = DetachKeys::new(keys).filter(input, &mut whole);
        let (mut single, mut watch) = (Vec::new(), DetachKeys::new(keys));
        let by_byte = input.iter().any(|b| watch.filter(&[*b], &mut single));
        assert_eq!((&whole, detached), (&single, by_byte));
        (whole, detached)
    }

    /// Keys, input, what passes, whether it detaches.
    type Row = (Option<&'static [u8]>, &'static [u8], &'static [u8], bool);

    #[test]
    fn table() {
        let cases: [Row; 11] = [
            (None, b"ls\n", b"ls\n", false),
            (None, b"ab\x10\x11cd", b"ab", true),
            (None, b"a\x10b", b"a\x10b", false),
            (None, b"\x10\x10\x11", b"\x10", true),
            (None, b"\x11\x10", b"\x11", false),
            (Some(b""), b"\x10\x11", b"\x10\x11", false),
            (Some(b"a"), b"xyaz", b"xy", true),
            (Some(b"aab"), b"aaab", b"a", true),
            (Some(b"aab"), b"aacaab", b"aac", true),
            (Some(b"abab"), b"abacababx", b"abac", true),
            (Some(b"abac"), b"ababac", b"ab", true),
        ];
        for (keys, input, passed, detached) in cases {
            assert_eq!(run(keys, input), (passed.to_vec(), detached), "{keys:?} {input:?}");
        }
    }
}
