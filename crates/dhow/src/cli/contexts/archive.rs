//! A context as a tar archive, as Docker's client writes and reads it: `meta.json`, and `tls/ENDPOINT/FILE`. An archive
//! may come from anybody: nothing in it names a place outside of the context.

use super::store::{Named, TlsFile};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeSet;
use std::io::Read as _;

const META: &str = "meta.json";

/// The archive.
pub fn write(one: &Named, tls: &[TlsFile]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, META, 0o644, Some(&serde_json::to_vec(one)?))?;
    append(&mut tar, "tls", 0o700, None)?;
    let mut folders = BTreeSet::new();
    for (end, name, content) in tls {
        if folders.insert(end) {
            append(&mut tar, &format!("tls/{end}"), 0o700, None)?;
        }
        append(&mut tar, &format!("tls/{end}/{name}"), 0o600, Some(content))?;
    }
    Ok(tar.into_inner()?)
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: Option<&[u8]>) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(content.map_or(0, |c| c.len() as u64));
    header.set_entry_type(if content.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory });
    tar.append_data(&mut header, path, content.unwrap_or_default()).with_context(|| format!("write {path}"))
}

/// What an archive holds.
pub fn read(bytes: &[u8]) -> Result<(Named, Vec<TlsFile>)> {
    if bytes.starts_with(b"PK\x03\x04") {
        bail!("zip archives are not read: unpack it, and pack it with `tar cf context.tar meta.json tls`");
    }
    let mut meta = None;
    let mut tls = Vec::new();
    for entry in tar::Archive::new(bytes).entries()? {
        let mut entry = entry.context("archive/tar: invalid tar header")?;
        // Folders come into being by their files.
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).with_context(|| format!("read {path}"))?;
        match place(&path)? {
            None => meta = Some(serde_json::from_slice(&content).context(META)?),
            Some((end, name)) => tls.push((end, name, content)),
        }
    }
    match meta {
        Some(meta) => Ok((meta, tls)),
        None => bail!("invalid context: no metadata found"),
    }
}

/// Endpoint and name of a file for TLS; nothing for the document.
fn place(path: &str) -> Result<Option<(String, String)>> {
    if path == META {
        return Ok(None);
    }
    let Some(below) = path.strip_prefix("tls/") else { bail!("{path}: unexpected context file") };
    if path.contains('\\') {
        bail!("{path}: unexpected '\\' in path");
    }
    if path.split('/').any(|part| ["", ".", ".."].contains(&part)) || path.contains('\0') {
        bail!("{path}: unexpected path format");
    }
    match below.split_once('/') {
        Some((end, name)) if !name.contains('/') => Ok(Some((end.to_owned(), name.to_owned()))),
        _ => bail!("archive format is invalid"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_comes_back() {
        let one = Named::of_host("a1", "unix:///x");
        let file = |end: &str, name: &str| (end.to_owned(), name.to_owned(), name.as_bytes().to_vec());
        let tls = vec![file("docker", "ca.pem"), file("docker", "key.pem"), file("other", "ca.pem")];
        let bytes = write(&one, &tls).unwrap();
        assert_eq!(read(&bytes).unwrap(), (one.clone(), tls));
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "tls/docker/ca.pem", 0o600, Some(b"x")).unwrap();
        let error = read(&tar.into_inner().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "invalid context: no metadata found");
        assert!(read(b"PK\x03\x04").unwrap_err().to_string().contains("zip"));
        assert!(read(&[b'x'; 1024]).is_err());
    }

    #[test]
    fn nothing_leads_out() {
        assert_eq!(place("meta.json").unwrap(), None);
        assert_eq!(place("tls/docker/ca.pem").unwrap(), Some(("docker".into(), "ca.pem".into())));
        for (path, part) in [
            ("x", "unexpected context file"),
            ("../meta.json", "unexpected context file"),
            ("/meta.json", "unexpected context file"),
            ("tls/../x", "unexpected path format"),
            ("tls/docker/../../x", "unexpected path format"),
            ("tls//x", "unexpected path format"),
            ("tls/a\\b/x", "unexpected '\\'"),
            ("tls/x", "archive format is invalid"),
            ("tls/a/b/c", "archive format is invalid"),
        ] {
            assert!(place(path).unwrap_err().to_string().contains(part), "{path}");
        }
    }
}
