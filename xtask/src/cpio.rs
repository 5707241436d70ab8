//! The archive format of an initial RAM file system (cpio "newc"): directories, links, devices and files.

use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// An archive being written.
pub struct Cpio {
    out: BufWriter<File>,
    inode: u32,
    directories: BTreeSet<String>,
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

impl Cpio {
    /// Begins an archive at `path`.
    pub fn create(path: &Path) -> Result<Cpio> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        Ok(Cpio { out: BufWriter::new(file), inode: 0, directories: BTreeSet::new() })
    }

    /// A directory, with those above it.
    pub fn directory(&mut self, name: &str) -> Result<()> {
        let mut at = 0;
        while let Some(slash) = name[at..].find('/') {
            at += slash;
            self.one_directory(&name[..at])?;
            at += 1;
        }
        self.one_directory(name)
    }

    fn one_directory(&mut self, name: &str) -> Result<()> {
        if self.directories.insert(name.to_owned()) {
            self.entry(name, DIRECTORY | 0o755, (0, 0), 0, io::empty())?;
        }
        Ok(())
    }

    fn parents(&mut self, name: &str) -> Result<()> {
        name.rfind('/').map_or(Ok(()), |slash| self.directory(&name[..slash]))
    }

    /// A file with `content`.
    pub fn bytes(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.parents(name)?;
        self.entry(name, FILE | mode, (0, 0), content.len() as u64, content)
    }

    /// A copy of a file of this machine.
    pub fn file(&mut self, name: &str, mode: u32, from: &Path) -> Result<()> {
        self.parents(name)?;
        let file = File::open(from).with_context(|| from.display().to_string())?;
        self.entry(name, FILE | mode, (0, 0), file.metadata()?.len(), file)
    }

    /// A symbolic link.
    pub fn link(&mut self, name: &str, target: &str) -> Result<()> {
        self.parents(name)?;
        self.entry(name, LINK | 0o777, (0, 0), target.len() as u64, target.as_bytes())
    }

    /// A character device.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) -> Result<()> {
        self.parents(name)?;
        self.entry(name, CHARACTER_DEVICE | 0o666, (major, minor), 0, io::empty())
    }

    fn entry(
        &mut self,
        name: &str,
        mode: u32,
        device: (u32, u32),
        size: u64,
        mut content: impl io::Read,
    ) -> Result<()> {
        self.inode += 1;
        let size32 = u32::try_from(size).with_context(|| format!("{name} is larger than 4 GiB"))?;
        let fields = [self.inode, mode, 0, 0, 1, 0, size32, 0, 0, device.0, device.1, name.len() as u32 + 1, 0];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        // The header has 110 bytes; name and content are padded to multiples of four.
        self.pad(110 + name.len() + 1, 1)?;
        let copied = io::copy(&mut content, &mut self.out).with_context(|| name.to_owned())?;
        anyhow::ensure!(copied == size, "{name} changed its size while it was read");
        self.pad(size32 as usize, 0)
    }

    fn pad(&mut self, length: usize, terminator: usize) -> Result<()> {
        let zeros = terminator + (4 - length % 4) % 4;
        self.out.write_all(&[0; 4][..zeros.min(4)])?;
        Ok(())
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<()> {
        self.entry("TRAILER!!!", 0, (0, 0), 0, io::empty())?;
        self.out.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn cpio_reads_it() {
        let dir = std::env::temp_dir().join(format!("dhow-cpio-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.cpio");
        let mut cpio = Cpio::create(&path).unwrap();
        for length in 0..9 {
            cpio.bytes(&format!("a/b{length}/file"), 0o644, &vec![b'x'; length]).unwrap();
        }
        cpio.link("a/link", "b1/file").unwrap();
        cpio.device("dev/null", 1, 3).unwrap();
        cpio.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() % 4, 0);
        // busybox has a reader of its own for this format.
        let listing = Command::new("busybox")
            .args(["cpio", "-itv"])
            .stdin(File::open(&path).unwrap())
            .stderr(Stdio::null())
            .output()
            .expect("this test needs the Debian package busybox-static");
        std::fs::remove_dir_all(&dir).unwrap();
        let text = String::from_utf8(listing.stdout).unwrap();
        for name in ["a/b0/file", "a/b8/file", "a/link -> b1/file", "dev/null"] {
            assert!(text.contains(name), "{name} in\n{text}");
        }
        assert_eq!(text.lines().count(), 9 * 2 + 1 + 1 + 2, "{text}");
    }
}
