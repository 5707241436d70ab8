#![allow(missing_docs)]
use dhow_types::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
pub struct Created(i32, OwnedFd, Option<OwnedFd>);
impl Created {
    pub fn pid(&self) -> i32 { self.0 }
    pub fn pidfd(&self) -> BorrowedFd<'_> { self.1.as_fd() }
    pub fn console(&mut self) -> Option<OwnedFd> { self.2.take() }
    pub fn warnings(&self) -> &[String] { &[] }
    pub fn start(&mut self) -> Result<()> { Ok(()) }
}
fn go(p: &dhow_runtime::spec::Process, stdio: dhow_runtime::Stdio) -> Result<Created> {
    let mut c = std::process::Command::new(&p.args[0]);
    c.args(&p.args[1..]).current_dir("/");
    let mut console = None;
    match stdio {
        dhow_runtime::Stdio::Fds { stdin, stdout, stderr } => { c.stdin(stdin).stdout(stdout).stderr(stderr); }
        _ => {
            let m = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC).unwrap();
            rustix::pty::unlockpt(&m).unwrap();
            let s = rustix::pty::ioctl_tiocgptpeer(&m, rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC).unwrap();
            c.stdin(s.try_clone().unwrap()).stdout(s.try_clone().unwrap()).stderr(s);
            console = Some(m);
        }
    }
    c.process_group(0);
    let ch = c.spawn().map_err(|e| Error::new(dhow_types::ErrorKind::CommandNotFound, e.to_string()))?;
    let pid = ch.id() as i32;
    let fd = crate::exit::open_pidfd(pid).unwrap();
    Ok(Created(pid, fd, console))
}
pub fn create(l: dhow_runtime::Launch<'_>) -> Result<Created> { go(l.spec.process.as_ref().unwrap(), l.stdio) }
pub fn exec(e: dhow_runtime::Exec<'_>) -> Result<Created> { go(e.process, e.stdio) }
