//! Starting the daemon when a command finds nobody on the default socket.

use anyhow::{Context as _, Result, bail};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where a daemon on the default socket writes its process id.
pub const PID_FILE: &str = "/run/dhow/dhow.pid";
/// Where a daemon started by a command writes what it has to say.
pub const LOG_FILE: &str = "/run/dhow/daemon.log";

/// Whether a failed connection means that no daemon runs.
pub fn worthwhile(cause: &std::io::Error) -> bool {
    matches!(cause.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
}

/// Starts `dhow daemon` in a session of its own and returns once it listens.
pub fn start(socket: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "no daemon answers on {}, and only root can start one: run the command with sudo, or have root run `dhow daemon` \
             (then members of the group that owns the socket can use it; running without root is not built yet)",
            socket.display()
        );
    }
    std::fs::create_dir_all("/run/dhow").context("create /run/dhow")?;
    std::fs::set_permissions("/run/dhow", std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(LOG_FILE).context(LOG_FILE)?;
    let program = std::env::current_exe().context("find the program's own file")?;
    let mut child = Command::new(program)
        .args(["daemon", "--background", "-H"])
        .arg(format!("unix://{}", socket.display()))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("start the daemon")?;
    let mut said = String::new();
    if let Some(mut out) = child.stdout.take() {
        // One line when it listens; the end of the file without one when it failed.
        let mut byte = [0];
        while out.read(&mut byte)? == 1 && byte[0] != b'\n' {
            said.push(char::from(byte[0]));
        }
    }
    if said == "ready" {
        return Ok(());
    }
    let status = child.wait()?;
    // Another command may have started one at the same moment: then ours found the place taken.
    if std::os::unix::net::UnixStream::connect(socket).is_ok() {
        return Ok(());
    }
    let log = std::fs::read_to_string(LOG_FILE).unwrap_or_default();
    let last = log.lines().last().unwrap_or("it said nothing").to_owned();
    bail!(
        "the daemon did not start ({status}): {last}\nAll it said is in {LOG_FILE}; to watch it start, run `dhow daemon`"
    );
}
