//! What every test stands on: a state folder with a zygote, a root file system of busybox, containers, clients.

use dhow_shim::client::{self, Connection, Spawn, Zygote};
use dhow_shim::exit;
use dhow_shim::protocol::*;
use dhow_shim::spec::{Capabilities, Linux, Mount, Namespace, NamespaceKind, Process, Spec};
use dhow_types::{Error, Result};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `done`, looking again and again.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A state folder, a zygote, a root.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub zygote: Option<Zygote>,
    count: Cell<u32>,
}

pub fn spawn() -> Spawn {
    Spawn { exe: std::env::current_exe().unwrap(), args: vec!["zygote".into()] }
}

const APPLETS: [&str; 18] = [
    "sh", "cat", "echo", "sleep", "head", "tail", "true", "stty", "ls", "seq", "tr", "wc", "yes", "dd", "touch",
    "mkdir", "tty", "setsid",
];

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for sub in ["bin", "proc", "dev", "tmp", "etc"] {
            std::fs::create_dir_all(root.join(sub)).unwrap();
        }
        // By another process: a descriptor of ours that may write could be inherited by what is started beside us.
        let copied = std::process::Command::new("cp").arg("/bin/busybox").arg(root.join("bin/busybox")).status();
        assert!(copied.unwrap().success(), "these tests need busybox-static");
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let zygote = Zygote::connect_or_start(dir.path(), &spawn()).unwrap();
        Self { dir, zygote: Some(zygote), count: Cell::new(0) }
    }
    pub fn zygote(&self) -> &Zygote {
        self.zygote.as_ref().unwrap()
    }
    /// A container that runs `script` with the shell.
    pub fn shell(&self, script: &str) -> Order<'_> {
        self.run(&["/bin/sh", "-c", script])
    }
    pub fn run(&self, args: &[&str]) -> Order<'_> {
        self.count.set(self.count.get() + 1);
        let name = format!("c{}", self.count.get());
        let dir = self.dir.path().join(&name);
        std::fs::create_dir(&dir).unwrap();
        let launch = Launch {
            protocol: VERSION,
            id: name,
            spec: spec(args),
            rootfs: Rootfs::Dir(self.dir.path().join("root")),
            cgroup: None,
            namespaces: Vec::new(),
            seccomp: None,
            init: false,
            open_stdin: false,
            stdin_once: false,
            log: LogConfig::JsonFile { path: dir.join("log"), max_size: 0, max_files: 0, compress: false, attrs: None },
            send: None,
            socket: dir.join("shim.sock"),
            exit_path: dir.join("exit.json"),
            pid_file: None,
            attach: Vec::new(),
        };
        Order { place: self, launch, sockets: Vec::new() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(zygote) = self.zygote.take() {
            let _ = zygote.retire();
        }
    }
}

pub fn process(args: &[&str]) -> Process {
    let caps: Vec<String> =
        ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"].iter().map(|c| (*c).to_owned()).collect();
    Process {
        args: args.iter().map(|a| (*a).to_owned()).collect(),
        cwd: "/".into(),
        env: vec!["PATH=/bin".into(), "TERM=xterm".into()],
        capabilities: Some(Capabilities {
            bounding: caps.clone(),
            effective: caps.clone(),
            permitted: caps,
            ..Capabilities::default()
        }),
        ..Process::default()
    }
}

fn spec(args: &[&str]) -> Spec {
    use NamespaceKind::{Ipc, Mount as Mnt, Pid, Uts};
    let namespaces = [Pid, Mnt, Ipc, Uts].map(|kind| Namespace { kind, path: None }).to_vec();
    Spec {
        oci_version: "1.3.0".into(),
        process: Some(process(args)),
        mounts: vec![
            Mount::new("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
            Mount::new("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            Mount::new(
                "/dev/pts",
                "devpts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            ),
        ],
        linux: Some(Linux { namespaces, ..Linux::default() }),
        ..Spec::default()
    }
}

/// A container to be.
pub struct Order<'a> {
    place: &'a Place,
    pub launch: Launch,
    sockets: Vec<UnixStream>,
}

pub fn options(stdin: bool) -> AttachOptions {
    AttachOptions { fd: 0, stdin, stdout: true, stderr: true, framed: false, detach_keys: None, leftover: Vec::new() }
}

impl Order<'_> {
    pub fn terminal(mut self) -> Self {
        self.launch.spec.process.as_mut().unwrap().terminal = true;
        self
    }
    pub fn stdin(mut self, once: bool) -> Self {
        (self.launch.open_stdin, self.launch.stdin_once) = (true, once);
        self
    }
    pub fn with(mut self, change: impl FnOnce(&mut Launch)) -> Self {
        change(&mut self.launch);
        self
    }
    /// Attaches a client from the first byte on.
    pub fn client(&mut self, mut options: AttachOptions) -> Client {
        let (mine, theirs) = UnixStream::pair().unwrap();
        options.fd = self.sockets.len() as u32;
        self.launch.attach.push(options);
        self.sockets.push(theirs);
        Client::new(mine)
    }
    pub fn start(self) -> Container {
        self.try_start().unwrap()
    }
    pub fn try_start(self) -> Result<Container> {
        let mut connection = patient(self.place.zygote().connect()?);
        let (socket, exit_path) = (self.launch.socket.clone(), self.launch.exit_path.clone());
        let fds: Vec<BorrowedFd<'_>> = self.sockets.iter().map(AsFd::as_fd).collect();
        match connection.call(Request::Launch(Box::new(self.launch)), &fds)? {
            Reply::Launched { pid, shim_pid, warnings, .. } => {
                Ok(Container { connection, pid, shim_pid, warnings, socket, exit_path })
            }
            other => Err(Error::system(format!("{other:?}"))),
        }
    }
}

/// A connection on which nothing is awaited for ever.
fn patient(stream: UnixStream) -> Connection {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Connection::new(stream)
}

/// A container that runs.
#[derive(Debug)]
pub struct Container {
    pub connection: Connection,
    pub pid: i32,
    pub shim_pid: i32,
    pub warnings: Vec<String>,
    pub socket: PathBuf,
    pub exit_path: PathBuf,
}

impl Drop for Container {
    /// A test that fails leaves nothing running: the container goes with its shim.
    fn drop(&mut self) {
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", self.shim_pid));
        if comm.is_ok_and(|name| name.trim() == "dhow-shim") {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(self.shim_pid).unwrap(),
                rustix::process::Signal::KILL,
            );
        }
    }
}

impl Container {
    pub fn call(&mut self, request: Request) -> Result<Reply> {
        self.connection.call(request, &[])
    }
    pub fn state(&mut self) -> State {
        match self.call(Request::State).unwrap() {
            Reply::State(state) => state,
            other => panic!("{other:?}"),
        }
    }
    pub fn attach(&mut self, options: AttachOptions) -> Result<Client> {
        let (mine, theirs) = UnixStream::pair().unwrap();
        self.connection.call(Request::Attach { exec_id: None, options }, &[theirs.as_fd()])?;
        Ok(Client::new(mine))
    }
    pub fn signal(&mut self, signo: i32) {
        self.call(Request::Signal { exec_id: None, signo, all: false }).unwrap();
    }
    pub fn kill(&mut self) {
        self.signal(9);
    }
    /// A further connection, as a restarted daemon makes it.
    pub fn reconnect(&self) -> Connection {
        patient(client::connect(&self.socket).unwrap())
    }
    /// Waits for the end; checks that the disk knew before the event came.
    pub fn wait(&mut self) -> ExitStatus {
        loop {
            match self.connection.event().unwrap().expect("the shim ended without saying how its container did") {
                Event::Exited(status) => {
                    assert_eq!(self.exit_file().as_ref(), Some(&status));
                    return status;
                }
                _ => continue,
            }
        }
    }
    /// Waits for the end of the shim itself, and looks that nothing is left.
    pub fn wait_gone(&mut self) {
        while self.connection.event().unwrap().is_some() {}
        assert!(!self.socket.exists(), "the shim's socket is left");
    }
    pub fn exit_file(&self) -> Option<ExitStatus> {
        exit::read(&self.exit_path).unwrap()
    }
    pub fn log_path(&self) -> PathBuf {
        self.exit_path.with_file_name("log")
    }
    pub fn log(&self) -> Vec<(String, String)> {
        log_lines(&self.log_path())
    }
}

pub fn log_lines(path: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|v| (v["stream"].as_str().unwrap().to_owned(), v["log"].as_str().unwrap().to_owned()))
        .collect()
}

/// The client's end of an attached socket.
#[derive(Debug)]
pub struct Client {
    pub stream: UnixStream,
    pub got: Vec<u8>,
}

impl Client {
    pub fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, got: Vec::new() }
    }
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
    /// Reads until what came has `text` in it.
    pub fn expect(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&self.got).contains(text) {
            let n = self.stream.read(&mut buffer).unwrap();
            assert!(n > 0, "the end came before {text:?}: {:?}", String::from_utf8_lossy(&self.got));
            self.got.extend_from_slice(&buffer[..n]);
        }
    }
    /// Reads to the end.
    pub fn rest(&mut self) -> Vec<u8> {
        self.stream.read_to_end(&mut self.got).unwrap();
        std::mem::take(&mut self.got)
    }
    pub fn text(&mut self) -> String {
        String::from_utf8(self.rest()).unwrap()
    }
}

/// Takes Docker's frames apart: what came on stdout and on stderr.
pub fn unframe(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        let len = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
        assert_eq!(bytes[1..4], [0, 0, 0]);
        let data = &bytes[8..8 + len];
        match bytes[0] {
            1 => out.extend_from_slice(data),
            2 => err.extend_from_slice(data),
            other => panic!("stream {other}"),
        }
        bytes = &bytes[8 + len..];
    }
    (out, err)
}

/// The process is there and no zombie.
pub fn alive(pid: i32) -> bool {
    process_state(pid).is_some_and(|s| s != 'Z' && s != 'X')
}

pub fn process_state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Waits until the process sleeps, and goes on sleeping: it does not spin.
pub fn until_idle(pid: i32) {
    let mut asleep = 0;
    until("a quiet process", || {
        asleep = if process_state(pid) == Some('S') { asleep + 1 } else { 0 };
        asleep == 100
    });
}

/// A field of `/proc/PID/smaps_rollup` in KiB.
pub fn memory_kib(pid: i32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub fn open_fds(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}
