//! Environment variables and labels from flags and files.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::Path;

/// Files of variables or labels may not be longer.
const MAX_FILE: u64 = 10 * 1024 * 1024;

/// `NAME=VALUE` as it is; `NAME` with the caller's value, or left out where the caller has none (Docker's rule).
pub fn variables(
    files: &[std::path::PathBuf],
    flags: &[String],
    caller: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for file in files {
        for (number, line) in read(file)?.lines().enumerate() {
            let line = line.trim_start_matches('\u{feff}').trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let name = line.split('=').next().unwrap_or_default();
            if name.is_empty() || name.contains(char::is_whitespace) {
                bail!("{}:{}: bad variable name {name:?}", file.display(), number + 1);
            }
            out.extend(one(line, caller));
        }
    }
    for flag in flags {
        if flag.is_empty() || flag.starts_with('=') {
            bail!("invalid environment variable: {flag:?} (example: -e NAME=value)");
        }
        out.extend(one(flag, caller));
    }
    Ok(out)
}

fn one(text: &str, caller: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if text.contains('=') { Some(text.to_owned()) } else { caller(text).map(|value| format!("{text}={value}")) }
}

/// Labels: `KEY=VALUE`, or `KEY` for an empty value; later ones win.
pub fn labels(files: &[std::path::PathBuf], flags: &[String]) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for file in files {
        for line in read(file)?.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            insert(&mut out, line);
        }
    }
    flags.iter().for_each(|flag| insert(&mut out, flag));
    Ok(out)
}

fn insert(map: &mut BTreeMap<String, String>, text: &str) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    map.insert(key.to_owned(), value.to_owned());
}

/// `NAME=VALUE` pairs that must have both parts.
pub fn pairs(flag: &str, words: &[String]) -> Result<BTreeMap<String, String>> {
    words
        .iter()
        .map(|word| {
            let (name, value) =
                word.split_once('=').with_context(|| format!("invalid {flag} {word:?}: want NAME=VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

fn read(file: &Path) -> Result<String> {
    let size = std::fs::metadata(file).with_context(|| format!("open {}", file.display()))?.len();
    if size > MAX_FILE {
        bail!("{}: longer than {MAX_FILE} bytes", file.display());
    }
    std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_then_flags_and_the_callers_values() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("env");
        std::fs::write(&file, "# c\nA=1\n\nHOME\nMISSING\nB=x y #z\n").unwrap();
        let caller = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let got = variables(std::slice::from_ref(&file), &["C=".into(), "HOME".into()], &caller).unwrap();
        assert_eq!(got, ["A=1", "HOME=/root", "B=x y #z", "C=", "HOME=/root"]);
        std::fs::write(&file, "bad name=1\n").unwrap();
        assert!(variables(&[file], &[], &caller).unwrap_err().to_string().contains(":1: bad variable name"));
        assert!(variables(&[], &["=x".into()], &caller).is_err());
    }

    #[test]
    fn labels_may_be_empty() {
        assert_eq!(
            labels(&[], &["a=b=c".into(), "d".into()]).unwrap(),
            [("a".into(), "b=c".into()), ("d".into(), String::new())].into()
        );
    }
}
