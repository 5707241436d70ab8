//! R4: the runtime's own binary can't be written through `/proc/PID/exe` of anything it becomes or enters.
//!
//! A container can make a process run `/proc/self/exe` (2019-5736) and then open that file for writing. So before
//! a process of ours comes near a container it runs from a mount of its own binary that is read-only and that no path
//! leads to: opening it for writing is then an error of the mount, whoever asks.

use crate::context::Context;
use dhow_sys::exec::{CStringArray, fexecve};
use dhow_sys::mount::{self as attr, Attributes, set_attributes};
use dhow_types::{Error, Result};
use rustix::fs::{CWD, StatVfsMountFlags, statvfs};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

const SELF: &str = "/proc/self/exe";

/// Whether this process already runs from a read-only mount.
pub fn is_readonly() -> Result<bool> {
    Ok(statvfs(SELF).context("look at our own binary")?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Runs this program again, with the same arguments and environment, from a read-only mount of its own binary. Comes
/// back at once if it does already; otherwise only on failure.
pub fn reexec_readonly(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<()> {
    if is_readonly()? {
        return Ok(());
    }
    let what = "run again from a read-only mount of our own binary";
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let binary = open_tree(CWD, SELF, flags).context(what)?;
    let ro = Attributes { set: attr::RDONLY | attr::NOSUID | attr::NODEV, ..Attributes::default() };
    set_attributes(binary.as_fd(), &ro, false).context(what)?;
    let args = CStringArray::new(args.into_iter().map(OsString::into_vec)).context(what)?;
    let env = env.into_iter().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name.into_vec()
    });
    let env = CStringArray::new(env).context(what)?;
    Err(Error::from(fexecve(binary.as_fd(), &args, &env)).prefixed(what))
}
