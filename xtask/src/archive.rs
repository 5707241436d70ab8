//! Docker archives (`docker save`) with one layer, written byte for byte the same for the same input.

use anyhow::{Context as _, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// All times in the archives: some moment of 2023.
pub const MTIME: u64 = 1_700_000_000;
const CREATED: &str = "2023-11-14T22:13:20Z";

/// Writes `out` with the tar file `layer` as its only layer.
pub fn write(out: &Path, tag: &str, layer: &Path, command: &str) -> Result<()> {
    let digest = digest(layer)?;
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "created": CREATED,
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": [command],
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        "history": [{"created": CREATED, "created_by": "cargo xtask images"}],
    })
    .to_string();
    let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
    let layer_name = format!("{digest}/layer.tar");
    let manifest = json!([{"Config": config_name, "RepoTags": [tag], "Layers": [layer_name]}]).to_string();

    let part = out.with_extension("part");
    let mut archive = tar::Builder::new(File::create(&part).with_context(|| part.display().to_string())?);
    append(&mut archive, &config_name, config.len() as u64, config.as_bytes())?;
    append(&mut archive, &layer_name, layer.metadata()?.len(), File::open(layer)?)?;
    append(&mut archive, "manifest.json", manifest.len() as u64, manifest.as_bytes())?;
    archive.into_inner()?.sync_all()?;
    std::fs::rename(&part, out)?;
    Ok(())
}

fn append(archive: &mut tar::Builder<File>, name: &str, size: u64, content: impl Read) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(MTIME);
    archive.append_data(&mut header, name, content)?;
    Ok(())
}

fn digest(path: &Path) -> Result<String> {
    struct Hash(Sha256);
    impl Write for Hash {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hash = Hash(Sha256::new());
    io::copy(&mut File::open(path).with_context(|| path.display().to_string())?, &mut hash)?;
    Ok(hex(&hash.0.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
