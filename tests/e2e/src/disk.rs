//! Small disks of the tests' own: a file system in a mount namespace that nobody else sees and that goes with its last
//! process.

use crate::daemon::until;
use crate::runner::skip;
use anyhow::{Context as _, Result, ensure};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A file system that is mounted at `place` for those in its namespace.
pub struct Disk {
    /// Keeps the namespace for as long as its standard input is open.
    holder: Child,
    place: PathBuf,
}

impl Disk {
    /// One in memory.
    pub fn memory(place: &Path, mib: u32) -> Result<Self> {
        Self::mount(place, &format!("mount -t tmpfs -o size={mib}m,mode=700 test \"$0\""))
    }

    /// A real one, in the file `image`. The case is skipped where there are no loop devices.
    pub fn ext4(place: &Path, image: &Path, mib: u64) -> Result<Self> {
        std::fs::File::create(image)?.set_len(mib << 20)?;
        let made = Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(image).stdin(Stdio::null()).output();
        if !made.is_ok_and(|out| out.status.success()) {
            return skip("mkfs.ext4 can't be run");
        }
        match Self::mount(place, &format!("mount -o loop {} \"$0\"", image.display())) {
            Err(e) => skip(format!("{e:#}")),
            ok => ok,
        }
    }

    fn mount(place: &Path, command: &str) -> Result<Self> {
        std::fs::create_dir_all(place)?;
        let script = format!("{command} && chmod 700 \"$0\" && echo mounted && exec cat > /dev/null");
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .arg(place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare")?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().context("no stdout")?).read_line(&mut line)?;
        let disk = Self { holder, place: place.to_owned() };
        ensure!(line == "mounted\n", "a small disk could not be mounted: {command}");
        Ok(disk)
    }

    /// The command that runs a program where the disk is seen; the process is that program.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).arg("--").arg(program);
        command
    }

    /// Where this process sees it.
    pub fn seen(&self) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.holder.id())).join(self.place.strip_prefix("/").unwrap_or(&self.place))
    }

    /// Bytes that are free for everybody.
    pub fn free(&self) -> Result<u64> {
        let fs = rustix::fs::statvfs(self.seen())?;
        Ok(fs.f_bavail * fs.f_frsize)
    }

    /// Somebody else takes all that is free.
    pub fn fill(&self) -> Result<()> {
        let mut file = std::fs::File::options().create(true).append(true).open(self.filler())?;
        // What others give back meanwhile is taken as well.
        until("the disk to be full", || {
            for size in [1 << 20, 4096, 512] {
                let bytes = vec![b'x'; size];
                loop {
                    match file.write_all(&bytes) {
                        Ok(()) => {}
                        Err(e) if e.kind() == ErrorKind::StorageFull => break,
                        Err(e) => return Err(e).context("fill the disk"),
                    }
                }
            }
            Ok((self.free()? == 0).then_some(()))
        })
    }

    /// And gives it back.
    pub fn relieve(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.seen().join("not-of-dhow")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
