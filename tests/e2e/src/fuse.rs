//! A file system whose server can stop to answer: its clients then wait in the kernel, and not even SIGKILL ends them.
//!
//! Spoken is FUSE's own protocol on `/dev/fuse` (linux/fuse.h, version 7.31), as far as one file in one directory needs it.
//! When the server goes, the kernel gives up on all that waits: nothing stays stuck.

use crate::disk::Disk;
use crate::runner::skip;
use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The one file of it.
pub const FILE: &str = "file";
/// The program as which it is mounted.
pub const SOURCE: &str = "test-server";

const ROOT: u64 = 1;
const HEAD: usize = 40;
const ENOENT: i32 = -2;
const ENOSYS: i32 = -38;

/// What the server does.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// All but reads of the file, which wait for ever.
    AllButReads,
    /// Nothing at all.
    Nothing,
}

#[derive(Default)]
struct Shared {
    answers: AtomicU32,
    /// Requests that got no answer.
    silent: AtomicU32,
}

/// The file system and its server. Dropped, it lets all go.
pub struct Fuse {
    /// Where it is mounted for those in the namespace of the disk.
    pub point: PathBuf,
    shared: Arc<Shared>,
    /// Closed to end the server.
    stop: Mutex<Option<std::os::unix::net::UnixStream>>,
    server: Mutex<Option<JoinHandle<()>>>,
}

impl Fuse {
    /// Mounts it at `point` where `disk` is seen.
    pub fn mount(disk: &Disk, point: &Path) -> Result<Self> {
        let Ok(device) = File::options().read(true).write(true).open("/dev/fuse") else {
            return skip("no /dev/fuse");
        };
        std::fs::create_dir_all(point)?;
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = std::os::unix::net::UnixStream::pair()?;
        let (served, state) = (device.try_clone()?, shared.clone());
        let server = std::thread::spawn(move || serve(served, &stopped, &state));
        let fuse =
            Self { point: point.to_owned(), shared, stop: Mutex::new(Some(stop)), server: Mutex::new(Some(server)) };
        // The descriptor of the mount is the standard input of the one who mounts.
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other";
        let mut mount: Command = disk.command("mount");
        let out = mount.args(["-i", "-t", "fuse", "-o", options, SOURCE]).arg(point).stdin(device).output()?;
        let said = String::from_utf8_lossy(&out.stderr);
        if said.contains("unknown filesystem type") {
            return skip("the kernel has no FUSE");
        }
        ensure!(out.status.success(), "mount the test's FUSE: {said}");
        Ok(fuse)
    }

    /// From now on.
    pub fn answer(&self, what: Answers) {
        self.shared.answers.store(what as u32, Ordering::SeqCst);
    }

    /// How many requests got no answer until now.
    pub fn silent(&self) -> u32 {
        self.shared.silent.load(Ordering::SeqCst)
    }

    /// Ends the server; what waited gets an error.
    pub fn end(&self) -> Result<()> {
        drop(self.stop.lock().unwrap().take());
        let server = self.server.lock().unwrap().take();
        server.map_or(Ok(()), |s| s.join().ok().context("the FUSE server panicked"))
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn serve(mut device: File, stopped: &std::os::unix::net::UnixStream, shared: &Shared) {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let mut fds = [PollFd::new(&device, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        if poll(&mut fds, None).is_err() || !fds[1].revents().is_empty() {
            return;
        }
        // Not mounted yet is EPERM, unmounted or cut off is ENODEV.
        match device.read(&mut buffer) {
            Ok(n) if n >= HEAD => {
                if let Some(answer) = answered(&buffer[..n], shared) {
                    let _ = device.write_all(&answer);
                }
            }
            Ok(_) => return,
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => return,
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// The answer to a request, if it gets one.
fn answered(request: &[u8], shared: &Shared) -> Option<Vec<u8>> {
    let number = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().unwrap_or_default());
    let opcode = u32::from_ne_bytes(request[4..8].try_into().unwrap_or_default());
    let (unique, node) = (number(8), number(16));
    let body = match opcode {
        // FORGET, INTERRUPT, BATCH_FORGET: nobody waits for an answer.
        2 | 36 | 42 => return None,
        // INIT
        26 => Ok(init()),
        15 if node != ROOT => return silent(shared),
        _ if shared.answers.load(Ordering::SeqCst) == Answers::Nothing as u32 => return silent(shared),
        // LOOKUP
        1 => match request.get(HEAD..request.len() - 1) {
            Some(name) if name == FILE.as_bytes() => {
                let mut entry = [2u64, 0, 0, 0].map(u64::to_ne_bytes).concat();
                entry.extend([0; 8]);
                entry.extend(attributes(2));
                Ok(entry)
            }
            _ => Err(ENOENT),
        },
        // GETATTR
        3 => Ok([&[0; 16][..], &attributes(node)].concat()),
        // OPEN and OPENDIR: reads go to the server as they are.
        14 | 27 => Ok([&7u64.to_ne_bytes()[..], &1u32.to_ne_bytes(), &[0; 4]].concat()),
        // READDIR: an empty one. RELEASE, FLUSH, RELEASEDIR.
        18 | 25 | 28 | 29 => Ok(Vec::new()),
        // STATFS
        17 => Ok(vec![0; 80]),
        _ => Err(ENOSYS),
    };
    let (error, body) = body.map_or_else(|e| (e, Vec::new()), |b| (0, b));
    let length = 16 + body.len() as u32;
    Some([&length.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes(), &body].concat())
}

fn silent(shared: &Shared) -> Option<Vec<u8>> {
    shared.silent.fetch_add(1, Ordering::SeqCst);
    None
}

/// Version 7.31, no optional features, writes of 4 KiB.
fn init() -> Vec<u8> {
    let mut out = vec![0; 64];
    for (at, value) in [(0, 7u32), (4, 31), (8, 4096), (20, 4096), (24, 1)] {
        out[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    out
}

/// `struct fuse_attr` of the directory or the file.
fn attributes(node: u64) -> Vec<u8> {
    let mode: u32 = if node == ROOT { 0o40755 } else { 0o100_644 };
    let mut out = [node, 4096, 8, 0, 0, 0].map(u64::to_ne_bytes).concat();
    out.extend([0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_ne_bytes).concat());
    out
}
