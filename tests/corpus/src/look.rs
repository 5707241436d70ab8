//! What a tree looks like, as text that can be compared.

use dhow_types::Digest;
use std::path::Path;

/// Paths and contents: a path that ends with `/` is a directory, `-> x` a link, `!` a whiteout.
pub fn outline(root: &Path) -> Vec<String> {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    fn walk(dir: &Path, at: &str, out: &mut Vec<String>) {
        let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let path = dir.join(&name);
            let name = printable(name.as_encoded_bytes());
            let m = std::fs::symlink_metadata(&path).unwrap();
            let t = m.file_type();
            if t.is_dir() {
                let mut buffer = [0u8; 8];
                let opaque = rustix::fs::lgetxattr(&path, "trusted.overlay.opaque", &mut buffer).is_ok();
                out.push(format!("{at}{name}/{}", if opaque { " opaque" } else { "" }));
                walk(&path, &format!("{at}{name}/"), out);
            } else if t.is_symlink() {
                out.push(format!("{at}{name} -> {}", std::fs::read_link(&path).unwrap().display()));
            } else if t.is_char_device() && m.rdev() == 0 {
                out.push(format!("{at}{name} !"));
            } else if t.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                let text = if bytes.len() > 40 {
                    format!("[{}]", bytes.len())
                } else {
                    String::from_utf8_lossy(&bytes).into()
                };
                out.push(format!("{at}{name} = {text}"));
            } else {
                out.push(format!("{at}{name} node {:o} {:x}", m.mode(), m.rdev()));
            }
        }
    }
    let mut out = Vec::new();
    walk(root, "", &mut out);
    out
}

/// How [`describe`] shows a name that a directory lists and nobody can open.
pub const LEADS_NOWHERE: &str = " leads nowhere";

/// What a tree looks like: path, kind, mode, owner, device or size, time, link target, content digest, attributes.
pub fn describe(root: &Path) -> Vec<String> {
    fn walk(dir: &Path, at: &str, out: &mut Vec<String>, links: &mut Vec<(u64, String)>) {
        use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
        let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let path = dir.join(&name);
            let shown = format!("{at}{}", printable(name.as_encoded_bytes()));
            let m = match std::fs::symlink_metadata(&path) {
                Ok(m) => m,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    out.push(format!("{shown}{LEADS_NOWHERE}"));
                    continue;
                }
                Err(e) => panic!("{}: {e}", path.display()),
            };
            let t = m.file_type();
            let mut line = format!("{shown} {:o} {}:{} t{}.{}", m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec());
            if t.is_symlink() {
                line += &format!(" -> {}", std::fs::read_link(&path).unwrap().display());
            } else if t.is_file() {
                line += &format!(" {}", Digest::of(&std::fs::read(&path).unwrap()).short());
                if m.nlink() > 1 {
                    match links.iter().find(|l| l.0 == m.ino()) {
                        Some((_, first)) => line += &format!(" = {first}"),
                        None => links.push((m.ino(), shown.clone())),
                    }
                }
            } else if t.is_char_device() || t.is_block_device() {
                line += &format!(" dev {:x}", m.rdev());
            }
            let mut names = vec![0u8; 64 << 10];
            let n = rustix::fs::llistxattr(&path, names.as_mut_slice()).unwrap_or(0);
            for key in names[..n].split(|&b| b == 0).filter(|k| !k.is_empty()) {
                let mut value = vec![0u8; 64 << 10];
                let n = rustix::fs::lgetxattr(&path, key, value.as_mut_slice()).unwrap();
                line += &format!(" {}={:?}", String::from_utf8_lossy(key), String::from_utf8_lossy(&value[..n]));
            }
            out.push(line);
            if t.is_dir() {
                walk(&path, &format!("{shown}/"), out, links);
            }
        }
    }
    let mut out = Vec::new();
    walk(root, "", &mut out, &mut Vec::new());
    out
}

/// UTF-8 as it is, all other bytes by their value, so that two names never look the same.
fn printable(name: &[u8]) -> String {
    let mut out = String::new();
    for chunk in name.utf8_chunks() {
        out.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|b| out += &format!("\\x{b:02x}"));
    }
    out
}
