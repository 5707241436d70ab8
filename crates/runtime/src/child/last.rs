//! The last steps, the same for a container's first process and for an exec: streams, limits, user, program.

use super::{home, identity, program};
use crate::context::Context;
use crate::launch::Stdio;
use crate::plan::ProcessPlan;
use crate::plan::caps::{CapSets, SYS_ADMIN};
use crate::seccomp::Program;
use crate::wire::{Message, Wire};
use dhow_sys::exec::{self, CStringArray};
use dhow_sys::fds;
use dhow_sys::path;
use dhow_sys::procfs::Procfs;
use dhow_types::{Error, ErrorKind, Result};
use rustix::fs::{FileType, Mode, OFlags, Uid, fchown, fstat};
use rustix::io::Errno;
use rustix::process::{Signal, ioctl_tiocsctty};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// What the last steps need.
pub(crate) struct Last<'a> {
    pub wire: &'a Wire,
    pub plan: &'a ProcessPlan,
    pub seccomp: Option<&'a Program>,
    pub parent_death_signal: Option<Signal>,
    pub preserve_fds: u32,
    pub keep_keyring: bool,
    pub groups_locked: bool,
    /// The standard streams are a terminal that was made for this process.
    pub own_terminal: bool,
    /// The program of `--init` and its arguments.
    pub init: Option<(&'a CString, &'a CStringArray)>,
    /// A procfs from before the root was changed, for the label.
    pub procfs: Option<Procfs>,
}

/// The program, ready to run.
pub(crate) struct Armed {
    path: CString,
    env: CStringArray,
    caps: CapSets,
    spare: u64,
}

/// Puts the standard streams in place. The caller has made the terminal already, if there is one.
pub(crate) fn streams(stdio: &Stdio, slave: Option<&OwnedFd>) -> Result<()> {
    let what = "connect stdin, stdout and stderr";
    match (stdio, slave) {
        (Stdio::Inherit, _) => Ok(()),
        (Stdio::Fds { stdin, stdout, stderr }, _) => {
            // One of them could itself be 0, 1 or 2: lift all above first.
            let lift = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).context(what);
            let lifted: Vec<OwnedFd> = [stdin, stdout, stderr]
                .into_iter()
                .map(|fd| if fd.as_raw_fd() < 3 { lift(fd).map(Some) } else { Ok(None) })
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .flatten()
                .collect();
            let mut spare = lifted.iter();
            for (number, fd) in [stdin, stdout, stderr].into_iter().enumerate() {
                let from = if fd.as_raw_fd() < 3 { spare.next().unwrap_or(fd) } else { fd };
                fds::place(from.as_fd(), number as i32).context(what)?;
            }
            Ok(())
        }
        (Stdio::Console { .. }, Some(slave)) => {
            for number in 0..3 {
                fds::place(slave.as_fd(), number).context(what)?;
            }
            ioctl_tiocsctty(slave).context("make the terminal the controlling one")
        }
        (Stdio::Console { .. }, None) => Err(Error::system("no terminal was made")),
    }
}

impl Last<'_> {
    /// Everything up to the point where the process waits to be started.
    pub(crate) fn prepare(&self) -> Result<Armed> {
        let mut warnings = Vec::new();
        let mut warn = |text: String| warnings.push(text);
        if !self.keep_keyring {
            exec::new_session_keyring().context("make a session keyring")?;
        }
        let root = home::root();
        let entered = self.enter_cwd(root.as_ref())?;
        let env = match (self.plan.has_home(), &root) {
            (false, Some(root)) => self.plan.environment(Some(&home::of(root.as_fd(), self.plan.uid)))?,
            _ => self.plan.environment(None)?,
        };
        own_streams(self.plan.uid, self.own_terminal)?;
        identity::limits(self.plan, &mut warn)?;
        rustix::process::umask(Mode::from_bits_truncate(self.plan.umask));
        let caps = identity::clamp(self.plan, &mut warn)?;
        identity::become_user(self.plan, &caps, self.groups_locked)?;
        // A filter without no_new_privs needs CAP_SYS_ADMIN, until just before the program.
        let spare = match self.seccomp {
            Some(_) if !self.plan.no_new_privileges => SYS_ADMIN & self.permitted()?,
            _ => 0,
        };
        identity::drop_capabilities(&caps, spare)?;
        // A directory that only its user may enter (NFS with root squashed).
        if !entered && !self.enter_cwd(root.as_ref())? {
            return Err(Error::invalid(format!("working directory {}: permission denied", self.plan.cwd.display())));
        }
        drop(root);
        if let Some(signal) = self.parent_death_signal {
            // After the change of user, which clears it. If the parent is dead by now, nobody will say "start".
            rustix::process::set_parent_process_death_signal(Some(signal)).context("set the parent death signal")?;
        }
        let path = program::find(self.plan)?;
        for warning in warnings {
            self.wire.send(&Message::Warning(warning))?;
        }
        Ok(Armed { path, env, caps, spare })
    }

    fn permitted(&self) -> Result<u64> {
        Ok(rustix::thread::capabilities(None).context("read the capabilities")?.permitted.bits())
    }

    /// From here on nothing but the filter stands between the process and its program. Comes back with an error only.
    pub(crate) fn run(&self, armed: &Armed) -> Error {
        match self.arm(armed) {
            Err(e) => e,
            Ok(()) => {
                let (path, args) = self.init.unwrap_or((&armed.path, &self.plan.args));
                program::run(path, args, &armed.env)
            }
        }
    }

    fn arm(&self, armed: &Armed) -> Result<()> {
        fds::cloexec_from(3 + self.preserve_fds).context("mark our descriptors")?;
        if let Some(profile) = &self.plan.apparmor {
            let Some(procfs) = &self.procfs else { return Err(Error::system("no procfs for the AppArmor profile")) };
            let value = format!("exec {profile}");
            procfs
                .write("self/attr/apparmor/exec", value.as_bytes())
                .or_else(|_| procfs.write("self/attr/exec", value.as_bytes()))
                .map_err(|e| {
                    Error::new(
                        ErrorKind::Unavailable,
                        format!(
                            "AppArmor profile {profile:?} can't be set: {e} (is AppArmor enabled, the profile loaded?)"
                        ),
                    )
                })?;
        }
        identity::no_new_privileges(self.plan)?;
        let listener = match self.seccomp {
            Some(filter) => filter.install().context("install the seccomp filter")?,
            None => None,
        };
        if let Some(listener) = listener {
            self.wire.send(&Message::Notify(listener))?;
        }
        if armed.spare != 0 {
            identity::drop_spare(&armed.caps)?;
        }
        Ok(())
    }

    /// Enters the working directory, inside the root and over no magic link, and proves it (2024-21626): a directory
    /// the root does not hold would be a door to the host. `false`: not allowed yet, try as the user.
    fn enter_cwd(&self, root: Option<&OwnedFd>) -> Result<bool> {
        let cwd = &self.plan.cwd;
        let what = || format!("working directory {}", cwd.display());
        let root = root.ok_or_else(|| Error::system("the container's root can't be opened"))?;
        if cwd != Path::new("/") {
            let opened = match path::open(root.as_fd(), cwd, OFlags::PATH | OFlags::DIRECTORY) {
                Err(e) if e.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) && self.plan.uid != 0 => {
                    return Ok(false);
                }
                Err(e) if e.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                    return Err(Error::invalid(format!("{}: it leads over a link out of the container", what())));
                }
                result => result.with_context(what)?,
            };
            match rustix::process::fchdir(&opened) {
                Err(Errno::ACCESS) => return Ok(false),
                result => result.with_context(what)?,
            }
        } else {
            rustix::process::chdir("/").with_context(what)?;
        }
        let real = rustix::process::getcwd(Vec::new()).with_context(what)?;
        // The kernel puts "(unreachable)" before a directory outside of the root.
        if !real.to_bytes().starts_with(b"/") {
            return Err(Error::invalid(format!("{}: it is outside of the container", what())));
        }
        Ok(true)
    }
}

/// Lets the program's user open `/dev/stdout` and its like anew, which takes rights on the pipe or terminal behind it.
/// A terminal that is not of our making stays its owner's.
fn own_streams(uid: u32, own_terminal: bool) -> Result<()> {
    if uid == 0 {
        return Ok(());
    }
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        let Ok(stat) = fstat(fd) else { continue };
        let ours = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo => true,
            FileType::CharacterDevice => own_terminal,
            _ => false,
        };
        if !ours || stat.st_uid == uid {
            continue;
        }
        match fchown(fd, Some(Uid::from_raw(uid)), None) {
            // The owner is not mapped in the user namespace, or the file system does not let us.
            Ok(()) | Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => {}
            Err(e) => return Err(e).context("give the standard streams to the user"),
        }
    }
    Ok(())
}
