//! A daemon under test, and the client's commands against it.

use crate::Setup;
use crate::disk::Disk;
use crate::net::Netns;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Longer than anything a healthy daemon takes; only failures wait so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon with everything of its own.
pub struct Daemon {
    /// Its network.
    pub net: Netns,
    /// Root, state, socket and configuration.
    pub dir: tempfile::TempDir,
    dhow: PathBuf,
    images: PathBuf,
    process: Mutex<Option<Child>>,
    /// The small disk on which its root is, if it is on one.
    disk: Option<Disk>,
}

/// What a command printed and how it ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Exit code (128 + signal if a signal ended it).
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }

    /// The output without the line end, if the command succeeded.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == 0, "exit code {}\nstdout: {}\nstderr: {}", self.code, self.out, self.err);
        Ok(self.out.trim_end().to_owned())
    }

    /// Demands this exit code and these words in standard error.
    pub fn fails(self, code: i32, words: &[&str]) -> Result<String> {
        let all = words.iter().all(|w| self.err.contains(w));
        ensure!(
            self.code == code && all,
            "want exit code {code} and {words:?}, got {}\nstdout: {}\nstderr: {}",
            self.code,
            self.out,
            self.err
        );
        Ok(self.err)
    }
}

impl Daemon {
    /// Starts one with the default configuration.
    pub fn start(setup: &Setup) -> Result<Self> {
        Self::start_with(setup, "{}")
    }

    /// Starts one with a configuration file.
    pub fn start_with(setup: &Setup, config: &str) -> Result<Self> {
        Self::start_on(setup, config, |_| Ok(None))
    }

    /// Starts one whose root is on the disk that `disk` makes of the daemon's directory, at `root` in it.
    pub fn start_on(setup: &Setup, config: &str, disk: impl FnOnce(&Path) -> Result<Option<Disk>>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("dhow-e2e-").tempdir()?;
        std::fs::write(dir.path().join("daemon.json"), config)?;
        let daemon = Self {
            net: Netns::new()?,
            disk: disk(dir.path())?,
            dir,
            dhow: setup.dhow.clone(),
            images: setup.images.clone(),
            process: Mutex::new(None),
        };
        daemon.up()?;
        Ok(daemon)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The socket as a client names it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("dhow.sock"))
    }

    /// The root directory, as this process reaches it.
    pub fn root(&self) -> PathBuf {
        self.disk.as_ref().map_or_else(|| self.dir.path().join("root"), Disk::seen)
    }

    /// The small disk on which its root is.
    pub fn disk(&self) -> Result<&Disk> {
        self.disk.as_ref().context("this daemon has no disk of its own")
    }

    /// Writes its configuration anew, for the next time it is started.
    pub fn configure(&self, config: &str) -> Result<()> {
        Ok(std::fs::write(self.dir.path().join("daemon.json"), config)?)
    }

    /// Starts the process (again) and waits until it answers.
    pub fn up(&self) -> Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("daemon.log"))?;
        let mut command = self.disk.as_ref().map_or_else(|| Command::new(&self.dhow), |d| d.command(&self.dhow));
        command
            .args(["daemon", "--background", "-H", &self.host()])
            .args([
                "--root",
                &self.path("root"),
                "--state",
                &self.path("state"),
                "--config-file",
                &self.path("daemon.json"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        // A proxy of the machine is none of the tests'.
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        let mut child = self.net.within(|| command.spawn())?.context("start the daemon")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
        if line.trim() != "ready" {
            let status = child.wait()?;
            bail!("the daemon did not start ({status}): {}", self.log());
        }
        *self.process.lock().unwrap() = Some(child);
        Ok(())
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("daemon.log")).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.lock().unwrap().as_ref().map_or(0, Child::id)
    }

    /// Kills it with SIGKILL.
    pub fn kill(&self) -> Result<()> {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Ends it in good order.
    pub fn end(&self) -> Result<()> {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            let pid = rustix::process::Pid::from_raw(child.id() as i32).context("no process")?;
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
            child.wait()?;
        }
        Ok(())
    }

    /// A command of the client, not run yet.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.dhow);
        command.args(words).env("DHOW_HOST", self.host()).env_remove("DOCKER_HOST").stdin(Stdio::null());
        command
    }

    /// Runs a command of the client.
    pub fn cli(&self, words: &[&str]) -> Result<Ran> {
        Ok(Ran::of(self.command(words).output().with_context(|| format!("dhow {words:?}"))?))
    }

    /// Runs a command that must succeed; its output without the line end.
    pub fn ok(&self, words: &[&str]) -> Result<String> {
        self.cli(words)?.ok().with_context(|| format!("dhow {}", words.join(" ")))
    }

    /// Runs a command with this standard input.
    pub fn with_input(&self, words: &[&str], input: &[u8]) -> Result<Ran> {
        fed(self.command(words), input)
    }

    /// Runs a program that was started elsewhere to its end.
    pub fn finish(child: Child) -> Result<Ran> {
        Ok(Ran::of(child.wait_with_output()?))
    }

    /// The archive of an image that `cargo xtask images` made.
    pub fn archive(&self, image: &str) -> PathBuf {
        self.images.join(format!("{image}.tar"))
    }

    /// Loads an image; the case is skipped where its archive was not made.
    pub fn load(&self, image: &str) -> Result<()> {
        let path = self.archive(image);
        if !path.exists() {
            return crate::runner::skip(format!("{} is missing (cargo xtask images)", path.display()));
        }
        self.ok(&["load", "-q", "-i", &path.display().to_string()])?;
        Ok(())
    }

    /// `inspect` of one object.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let text = self.ok(&["inspect", name])?;
        let mut list: Vec<Value> = serde_json::from_str(&text)?;
        list.pop().context("inspect gave nothing")
    }

    /// A raw request over the socket: status, header and body. For what the client can't say.
    pub fn http(&self, method: &str, path: &str, body: &str) -> Result<(u16, String, String)> {
        let mut stream = std::os::unix::net::UnixStream::connect(self.dir.path().join("dhow.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").context("no head")?;
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status")?;
        Ok((status, head.to_owned(), body.to_owned()))
    }

    /// Every process whose environment or command line names this daemon's directory.
    pub fn processes(&self) -> Vec<i32> {
        let needle = self.dir.path().display().to_string();
        let mine = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| String::from_utf8_lossy(&c).contains(&needle))
        };
        pids().into_iter().filter(mine).filter(|p| *p != std::process::id() as i32).collect()
    }
}

/// Runs any command with this standard input.
pub fn fed(mut command: Command, input: &[u8]) -> Result<Ran> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    // A program that does not read its input ends first: no failure.
    let _ = feeder.join();
    Ok(Ran::of(output))
}

/// All process ids.
pub fn pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Containers outlive a daemon, so they go first; then the daemon, then what it started.
        if let Ok(ids) = self.ok(&["ps", "-aq"]) {
            let ids: Vec<&str> = ids.split_whitespace().collect();
            if !ids.is_empty() {
                let _ = self.cli(&[&["rm", "-f", "-v"], &ids[..]].concat());
            }
        }
        if let Some(mut child) = self.process.lock().unwrap().take() {
            if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _ = child.wait();
        }
        for pid in self.processes() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Waits until `f` gives something; names what was awaited when it never comes.
pub fn until<T>(what: &str, f: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(PATIENCE, what, f)
}

/// The same for what takes a slow machine long.
pub fn until_within<T>(most: Duration, what: &str, mut f: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = f()? {
            return Ok(value);
        }
        ensure!(start.elapsed() < most, "waited {most:?} for {what}");
        // the pause between two looks at a condition that nothing announces
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The text of a file.
pub fn read(path: impl AsRef<Path>) -> Result<String> {
    std::fs::read_to_string(path.as_ref()).with_context(|| path.as_ref().display().to_string())
}

/// Makes a root file system of busybox alone.
pub fn busybox_root(root: &Path) -> Result<()> {
    std::fs::create_dir_all(root.join("bin"))?;
    // By another process: a descriptor of ours that may write could be inherited by what is started beside us at the
    // same moment, and such a file can't be executed ("text file busy").
    let status = Command::new("cp").arg("/bin/busybox").arg(root.join("bin/busybox")).status()?;
    ensure!(status.success(), "copy busybox: {status}");
    Ok(())
}
