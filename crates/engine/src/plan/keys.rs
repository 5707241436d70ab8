//! Detach keys: `ctrl-p,ctrl-q` as the bytes a terminal sends.

use dhow_types::{Error, Result};

/// Longest sequence.
const MAX_KEYS: usize = 32;

/// The bytes. Source: Docker's `--detach-keys`: letters, or `ctrl-` with a letter or one of `@ [ \ ] ^ _`.
pub fn parse(text: &str) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<&str> = text.split(',').collect();
    if keys.len() > MAX_KEYS {
        return Err(Error::invalid(format!("Invalid detach keys: more than {MAX_KEYS}")));
    }
    keys.into_iter()
        .map(|key| {
            let control = key.strip_prefix("ctrl-").map(str::as_bytes);
            match (control, key.as_bytes()) {
                (Some([c @ b'a'..=b'z']), _) => Ok(c - b'a' + 1),
                (Some([b'@']), _) => Ok(0),
                (Some([c @ (b'[' | b'\\' | b']' | b'^' | b'_')]), _) => Ok(c - b'[' + 27),
                (None, [c]) => Ok(*c),
                _ => Err(Error::invalid(format!("Invalid detach keys ({text}): unknown key {key:?}"))),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        assert_eq!(parse("ctrl-p,ctrl-q").unwrap(), [16, 17]);
        assert_eq!(parse("a,ctrl-@,ctrl-[,ctrl-_").unwrap(), [b'a', 0, 27, 31]);
        assert!(parse("").unwrap().is_empty());
        for bad in ["ctrl-P", "ctrl-", "ab", "a,,b", "ctrl-1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
