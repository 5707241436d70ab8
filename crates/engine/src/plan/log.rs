//! Options of the log driver `json-file`.

use dhow_types::{Error, Result};
use std::collections::BTreeMap;

/// When the log is turned over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of one file; `None` never turns over.
    pub max_size: Option<u64>,
    /// Files kept, the current one included.
    pub max_files: u32,
}

/// Parses `max-size` and `max-file`; `compress`, `labels` and the like are refused by name.
pub fn options(options: &BTreeMap<String, String>) -> Result<Rotation> {
    let mut out = Rotation { max_size: None, max_files: 1 };
    for (name, value) in options {
        match name.as_str() {
            "max-size" => {
                let bytes = || size(value).map_err(|e| e.prefixed("log option max-size"));
                out.max_size = (value != "-1").then(bytes).transpose()?;
            }
            "max-file" => {
                out.max_files = value
                    .parse()
                    .ok()
                    .filter(|n| (1..=1000).contains(n))
                    .ok_or_else(|| Error::invalid(format!("invalid max-file {value:?}: use 1 to 1000")))?;
            }
            "compress" | "labels" | "labels-regex" | "env" | "env-regex" | "tag" | "mode" | "max-buffer-size" => {
                return Err(Error::not_implemented(format!("log option {name} is not built for json-file")));
            }
            other => {
                return Err(Error::invalid(format!("unknown log opt '{other}' for json-file log driver")));
            }
        }
    }
    if out.max_files > 1 && out.max_size.is_none() {
        return Err(Error::invalid("max-file cannot be set when max-size is not set"));
    }
    Ok(out)
}

/// `10`, `10b`, `10k`, `10m`, `10g`, also with `b` or `ib` after the letter.
fn size(text: &str) -> Result<u64> {
    let bad = || Error::invalid(format!("invalid size {text:?}: use a number with k, m or g"));
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let shift = match lower[digits..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(bad()),
    };
    let n: u64 = lower[..digits].parse().map_err(|_| bad())?;
    n.checked_mul(1 << shift).filter(|n| *n > 0).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let get = |o: &[(&str, &str)]| options(&o.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect());
        assert_eq!(get(&[]).unwrap(), Rotation { max_size: None, max_files: 1 });
        assert_eq!(
            get(&[("max-size", "10m"), ("max-file", "3")]).unwrap(),
            Rotation { max_size: Some(10 << 20), max_files: 3 }
        );
        assert_eq!(get(&[("max-size", "1kb")]).unwrap().max_size, Some(1024));
        for bad in [
            &[("max-size", "x")][..],
            &[("max-size", "0")],
            &[("max-size", "99999999999999999999g")],
            &[("max-file", "3")],
            &[("max-size", "1k"), ("max-file", "0")],
            &[("tag", "x")],
            &[("nope", "x")],
        ] {
            assert!(get(bad).is_err(), "{bad:?}");
        }
    }
}
