//! Archives made by hand, so that tests decide about every byte.
#![allow(dead_code, clippy::unwrap_used)]

use dhow_store::{Loaded, Store, StoreConfig};
use dhow_types::{Digest, Result};
use std::io::Cursor;
use std::path::PathBuf;

/// A tar in the making.
#[derive(Default, Clone)]
pub struct Tar(pub Vec<u8>);

/// The fields of a header.
#[derive(Clone)]
pub struct Head {
    pub kind: u8,
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: Vec<u8>,
    pub gid: Vec<u8>,
    pub size: u64,
    pub mtime: u64,
    pub device: (u32, u32),
    pub gnu: bool,
}

impl Head {
    pub fn new(kind: u8, name: impl AsRef<[u8]>) -> Self {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        Self {
            kind,
            name: name.as_ref().to_vec(),
            link: Vec::new(),
            mode,
            uid: b"0000000\0".to_vec(),
            gid: b"0000000\0".to_vec(),
            size: 0,
            mtime: 1_600_000_000,
            device: (0, 0),
            gnu: false,
        }
    }
    pub fn block(&self) -> [u8; 512] {
        let mut b = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, &self.uid);
        put(116, &self.gid);
        if self.size < 1 << 33 {
            put(124, format!("{:011o}\0", self.size).as_bytes());
        } else {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &self.size.to_be_bytes());
        }
        put(136, format!("{:011o}\0", self.mtime).as_bytes());
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, if self.gnu { b"ustar  \0" } else { b"ustar\x0000" });
        put(329, format!("{:07o}\0", self.device.0).as_bytes());
        put(337, format!("{:07o}\0", self.device.1).as_bytes());
        seal(&mut b);
        b
    }
}

/// Writes the checksum.
pub fn seal(b: &mut [u8; 512]) {
    b[148..156].fill(b' ');
    let sum: u32 = b.iter().map(|&b| u32::from(b)).sum();
    b[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn head(mut self, head: Head) -> Self {
        self.0.extend_from_slice(&head.block());
        self
    }
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    pub fn data(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
    pub fn file(self, name: impl AsRef<[u8]>, data: &[u8]) -> Self {
        self.head(Head { size: data.len() as u64, ..Head::new(b'0', name) }).data(data)
    }
    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.head(Head::new(b'5', name))
    }
    pub fn symlink(self, name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        self.head(Head { link: to.as_ref().to_vec(), mode: 0o777, ..Head::new(b'2', name) })
    }
    pub fn hardlink(self, name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        self.head(Head { link: to.as_ref().to_vec(), ..Head::new(b'1', name) })
    }
    pub fn node(self, kind: u8, name: &str, device: (u32, u32)) -> Self {
        self.head(Head { device, ..Head::new(kind, name) })
    }
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|(k, v)| record(k, v)).collect();
        self.head(Head { size: body.len() as u64, ..Head::new(b'x', "pax") }).data(&body)
    }
    /// GNU's long name or long link.
    pub fn long(self, kind: u8, text: &[u8]) -> Self {
        let body = [text, b"\0"].concat();
        self.head(Head { size: body.len() as u64, gnu: true, ..Head::new(kind, "././@LongLink") }).data(&body)
    }
    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// One pax record.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}

/// A configuration for layers with these uncompressed tars.
pub fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<Digest> = layers.iter().map(|l| Digest::of(l)).collect();
    serde_json::json!({
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }, "os": "linux",
        "created": "2024-01-02T03:04:05.678Z",
        "config": { "Cmd": ["sh"], "Labels": { "a": "b" } },
        "rootfs": { "type": "layers", "diff_ids": ids },
    })
    .to_string()
    .into_bytes()
}

/// A docker archive, layers before the manifest, the tars as given.
pub fn docker_archive(tag: Option<&str>, config: &[u8], layers: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = Tar::new();
    let mut names = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        let name = format!("layer{i}/layer.tar");
        tar = tar.file(&name, layer);
        names.push(name);
    }
    let name = format!("{}.json", Digest::of(config).hex());
    let tags: Vec<&str> = tag.into_iter().collect();
    let manifest = serde_json::json!([{ "Config": name, "RepoTags": tags, "Layers": names }]).to_string();
    tar.file(&name, config).file("manifest.json", manifest.as_bytes()).end()
}

/// A store in a directory of its own, with a file beside it that nobody may touch.
pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub store: Option<Store>,
    pub config: StoreConfig,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(StoreConfig::default())
    }
    pub fn with(config: StoreConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("canary"), "untouched").unwrap();
        let mut this = Self { dir, store: None, config };
        this.reopen();
        this
    }
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }
    pub fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open(&self.root(), self.config.clone()).unwrap());
    }
    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }
    pub fn load(&self, archive: Vec<u8>) -> Result<Vec<Loaded>> {
        self.store().load(Cursor::new(archive), &mut |_| {})
    }
    /// Loads an image of these layers and returns its id.
    pub fn image(&self, tag: &str, layers: &[Vec<u8>]) -> Result<Digest> {
        Ok(self.load(docker_archive(Some(tag), &config(layers), layers))?[0].id)
    }
    /// The only layer of an image.
    pub fn tree(&self, id: &Digest) -> PathBuf {
        self.store().layer_dirs(id).unwrap().remove(0)
    }
    /// The tar rebuilt from the recipe.
    pub fn rebuilt(&self, diff_id: &Digest) -> Vec<u8> {
        let mut out = Vec::new();
        self.store().rebuild_layer(diff_id, &mut out).unwrap();
        out
    }
    /// Nothing beside the store was touched and nothing is half done.
    pub fn assert_clean(&self) {
        self.store().wait_for_trash();
        self.assert_clean_files();
    }
    /// The same for a store that is closed.
    pub fn assert_clean_files(&self) {
        assert_eq!(std::fs::read_to_string(self.dir.path().join("canary")).unwrap(), "untouched");
        let mut beside: Vec<_> = list(&self.dir.path().to_path_buf());
        beside.sort();
        assert_eq!(beside, ["canary", "root"]);
        assert!(list(&self.root().join("tmp")).is_empty());
        assert!(list(&self.root().join("trash")).is_empty());
    }
}

pub fn list(dir: &PathBuf) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What a tree looks like: path, kind, mode, owner, device or size, time, link target, content digest, attributes.
pub fn describe(root: &std::path::Path) -> Vec<String> {
    fn walk(dir: &std::path::Path, at: &str, out: &mut Vec<String>, links: &mut Vec<(u64, String)>) {
        use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
        let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let path = dir.join(&name);
            let shown = format!("{at}{}", name.to_string_lossy());
            let m = std::fs::symlink_metadata(&path).unwrap();
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
