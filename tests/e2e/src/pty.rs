//! A terminal for a command: what a person would type and see.

use crate::daemon::PATIENCE;
use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A command on a pseudo-terminal.
pub struct Terminal {
    master: OwnedFd,
    child: Child,
    /// Everything seen so far.
    pub seen: String,
    /// Up to here it was expected already.
    matched: usize,
}

impl Terminal {
    /// Starts `command` on a terminal of this many rows and columns.
    pub fn spawn(mut command: Command, rows: u16, columns: u16) -> Result<Self> {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = std::fs::OpenOptions::new().read(true).write(true).open(name.to_str()?)?;
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size)?;
        let child = command
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave))
            .spawn()?;
        drop(command);
        Ok(Self { master, child, seen: String::new(), matched: 0 })
    }

    /// Changes the size and tells the command, as a window manager would.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size)?;
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).context("no pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::WINCH)?;
        Ok(())
    }

    /// Whether what is typed is shown.
    pub fn echoes(&self) -> Result<bool> {
        Ok(rustix::termios::tcgetattr(&self.master)?.local_modes.contains(rustix::termios::LocalModes::ECHO))
    }

    /// Interrupts the command, as Ctrl-C would.
    pub fn interrupt(&self) -> Result<()> {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).context("no pid")?;
        Ok(rustix::process::kill_process(pid, rustix::process::Signal::INT)?)
    }

    /// Types.
    pub fn send(&self, text: &[u8]) -> Result<()> {
        let mut left = text;
        while !left.is_empty() {
            let n = rustix::io::write(&self.master, left)?;
            left = &left[n..];
        }
        Ok(())
    }

    /// Reads until the text shows up behind what was expected before.
    pub fn expect(&mut self, text: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Some(at) = self.seen[self.matched..].find(text) {
                self.matched += at + text.len();
                return Ok(());
            }
            if start.elapsed() > PATIENCE || !self.step()? {
                bail!("waited for {text:?} on the terminal, saw {:?}", &self.seen[self.matched..]);
            }
        }
    }

    /// Reads a piece; false at the end.
    fn step(&mut self) -> Result<bool> {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        if poll(&mut fds, Some(&second))? == 0 {
            return Ok(true);
        }
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::IO) => Ok(false),
            Ok(n) => {
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
                Ok(true)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Reads to the end and gives the exit code.
    pub fn wait(mut self) -> Result<(i32, String)> {
        let start = Instant::now();
        while self.step()? {
            if start.elapsed() > PATIENCE {
                self.child.kill()?;
                bail!("the command did not end; seen: {:?}", self.seen);
            }
        }
        let status = self.child.wait()?;
        Ok((status.code().unwrap_or(-1), self.seen))
    }
}
