//! `cargo xtask images`: archives of images made from Debian's packages, without a registry.

use crate::archive::{self, MTIME};
use crate::{packages, run};
use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The images, by the name of their archive.
const IMAGES: &[&str] = &["busybox", "debian"];

/// Debian's release in the `debian` image.
const SUITE: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";

/// `cargo xtask images [NAME...] [--out DIR] [--again]`.
pub fn command(words: &[String]) -> Result<()> {
    let (mut out, mut again, mut names) = (run::root().join("images"), false, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--out" => out = words.next().context("--out wants a folder")?.into(),
            "--again" => again = true,
            "all" => names.extend(IMAGES),
            name if IMAGES.contains(&name) => names.push(name),
            other => bail!("no image {other:?}; there are {}, and all", IMAGES.join(", ")),
        }
    }
    if names.is_empty() {
        names.extend(IMAGES);
    }
    for name in names {
        println!("{}", make(name, &out, again)?.display());
    }
    Ok(())
}

/// The archive of an image in `out`, made if it is missing or `again`.
pub fn make(name: &str, out: &Path, again: bool) -> Result<PathBuf> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let path = out.join(format!("{name}.tar"));
    if path.exists() && !again {
        return Ok(path);
    }
    let layer = run::scratch("images")?.join(format!("{name}-layer.tar"));
    let command = match name {
        "busybox" => {
            busybox(&layer)?;
            "sh"
        }
        _ => {
            debian(&layer)?;
            "bash"
        }
    };
    archive::write(&path, &format!("{name}:latest"), &layer, command)?;
    std::fs::remove_file(&layer)?;
    Ok(path)
}

/// The statically linked busybox of the package busybox-static.
pub fn busybox_binary() -> Result<PathBuf> {
    let package = packages::unpacked("busybox-static")?;
    // Where Debian merged /usr, the file moved with it.
    ["bin/busybox", "usr/bin/busybox"]
        .iter()
        .map(|at| package.join(at))
        .find(|path| path.exists())
        .context("the package busybox-static holds no bin/busybox")
}

/// Busybox with a link for each of its applets, and the little that programs expect around it.
fn busybox(layer: &Path) -> Result<()> {
    let binary = busybox_binary()?;
    let applets = run::output(Command::new(&binary).arg("--list-full"))?;
    let mut tar = tar::Builder::new(File::create(layer)?);
    let header = |kind, mode, size| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(MTIME);
        header
    };
    for dir in ["bin", "etc", "home", "lib", "proc", "root", "sbin", "sys", "tmp", "usr", "usr/bin", "usr/sbin", "var"]
    {
        let mode = if dir == "tmp" { 0o1777 } else { 0o755 };
        tar.append_data(&mut header(tar::EntryType::Directory, mode, 0), format!("{dir}/"), std::io::empty())?;
    }
    let size = binary.metadata()?.len();
    tar.append_data(&mut header(tar::EntryType::Regular, 0o755, size), "bin/busybox", File::open(&binary)?)?;
    for applet in applets.lines().filter(|a| !a.ends_with("/busybox")) {
        tar.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), applet, "/bin/busybox")?;
    }
    for (name, text) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ] {
        tar.append_data(&mut header(tar::EntryType::Regular, 0o644, text.len() as u64), name, text.as_bytes())?;
    }
    tar.into_inner()?;
    Ok(())
}

/// A minimal Debian without documentation and lists.
fn debian(layer: &Path) -> Result<()> {
    packages::ensure(&["mmdebstrap"])?;
    println!("bootstrapping Debian {SUITE}, which takes a minute or two");
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--variant=minbase", "--mode=root", "--quiet"]).env("SOURCE_DATE_EPOCH", MTIME.to_string());
    for path in ["doc", "man", "info", "locale"] {
        bootstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{path}/*"));
    }
    bootstrap.arg("--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/*.bin");
    run::run(bootstrap.arg(SUITE).arg(layer).arg(MIRROR))
}
