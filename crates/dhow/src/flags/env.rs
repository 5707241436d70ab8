//! Environment variables and labels from flags and files.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::io::Read as _;
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
        out.extend(read(file)?.iter().filter_map(|line| one(line, caller)));
    }
    out.extend(flags.iter().filter_map(|flag| one(flag, caller)));
    Ok(out)
}

fn one(text: &str, caller: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if text.contains('=') { Some(text.to_owned()) } else { caller(text).map(|value| format!("{text}={value}")) }
}

/// Labels: `KEY=VALUE`, or `KEY` for an empty value; later ones win.
pub fn labels(files: &[std::path::PathBuf], flags: &[String]) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for file in files {
        // One without a value is left out, as Docker's client does.
        read(file)?.iter().filter(|line| line.contains('=')).for_each(|line| insert(&mut out, line));
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

/// The lines of a file that say something: `NAME=VALUE` or `NAME`.
fn read(file: &Path) -> Result<Vec<String>> {
    let shown = file.display();
    let open = std::fs::File::open(file).with_context(|| format!("open {shown}"))?;
    let what = || format!("invalid env file ({shown})");
    let mut bytes = Vec::new();
    open.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(|| format!("read {shown}")).with_context(what)?;
    if bytes.len() as u64 > MAX_FILE {
        bail!("{}: longer than {MAX_FILE} bytes", what());
    }
    lines(&bytes).with_context(what)
}

fn lines(bytes: &[u8]) -> Result<Vec<String>> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut out = Vec::new();
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let Ok(text) = std::str::from_utf8(line) else {
            let shown: Vec<String> = line.iter().map(u8::to_string).collect();
            bail!("invalid utf8 bytes at line {}: [{}]", number + 1, shown.join(" "));
        };
        let text = text.strip_suffix('\r').unwrap_or(text).trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let name = text.split('=').next().unwrap_or_default();
        if name.is_empty() {
            bail!("no variable name on line '{text}'");
        }
        if name.contains([' ', '\t']) {
            bail!("variable '{name}' contains whitespaces");
        }
        out.push(text.to_owned());
    }
    Ok(out)
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
        let wrong = |text: &[u8]| {
            std::fs::write(&file, text).unwrap();
            format!("{:#}", variables(std::slice::from_ref(&file), &[], &caller).unwrap_err())
        };
        let what = format!("invalid env file ({}): ", file.display());
        assert_eq!(wrong(b"bad name=1\n"), format!("{what}variable 'bad name' contains whitespaces"));
        assert_eq!(wrong(b"=1\n"), format!("{what}no variable name on line '=1'"));
        assert_eq!(wrong(b"a=1\nb=\xff\n"), format!("{what}invalid utf8 bytes at line 2: [98 61 255]"));
    }

    #[test]
    fn labels_may_be_empty() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("labels");
        std::fs::write(&file, "a=1\r\n# c\nalone\n").unwrap();
        assert_eq!(labels(&[file], &[]).unwrap(), [("a".to_owned(), "1".to_owned())].into());
        assert_eq!(
            labels(&[], &["a=b=c".into(), "d".into()]).unwrap(),
            [("a".into(), "b=c".into()), ("d".into(), String::new())].into()
        );
    }
}
