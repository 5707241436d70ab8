//! What a caller says to bring a container's process to life, and the handle it gets back.
//!
//! Only the vocabulary and the handle live here; what the child does is in `child`, what is decided
//! beforehand in `plan`.

use crate::seccomp::Program;
use crate::spec::{ConsoleSize, NamespaceKind, Process, Spec};
use dhow_cgroup::Group;
use rustix::process::Signal;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The container's root file system.
#[derive(Clone, Debug)]
pub enum Rootfs<'a> {
    /// A directory on the host, bound.
    Dir(&'a Path),
    /// An overlay, mounted in the container's own mount namespace and gone with it.
    Overlay(Overlay),
}

/// An overlay mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Overlay {
    /// Lower directories, the top one first.
    pub lower: Vec<PathBuf>,
    /// Where changes go.
    pub upper: PathBuf,
    /// overlayfs' scratch directory, on the same file system as `upper`.
    pub work: PathBuf,
    /// Never synced: for layers that are thrown away with the container.
    pub volatile: bool,
    /// Without upper and work directory.
    pub readonly: bool,
}

/// Where the process's standard streams go.
#[derive(Debug)]
pub enum Stdio {
    /// Three descriptors, used as they are.
    Fds {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// The runtime's own descriptors 0, 1 and 2.
    Inherit,
    /// A pseudo terminal, made inside the container's devpts; its master comes back by [`Created::console`].
    Console {
        /// Its size.
        size: Option<ConsoleSize>,
    },
}

/// Everything [`create`](crate::create) needs.
pub struct Launch<'a> {
    /// The container's id, for hooks and messages.
    pub id: &'a str,
    /// The bundle directory, for hooks' state document and relative paths.
    pub bundle: &'a Path,
    /// The document.
    pub spec: &'a Spec,
    /// The root file system; overrides `spec.root.path`.
    pub rootfs: Rootfs<'a>,
    /// Standard streams.
    pub stdio: Stdio,
    /// The group the process starts in; made and limited by the caller.
    pub cgroup: Option<&'a Group>,
    /// Namespaces to join, over `spec.linux.namespaces`.
    pub namespaces: &'a [(NamespaceKind, OwnedFd)],
    /// Sent to the process when the thread that called `create` dies.
    pub parent_death_signal: Option<Signal>,
    /// `--init`: this program is mounted read-only at `/sbin/docker-init` and run with `--` and the real command.
    pub init_binary: Option<&'a [u8]>,
    /// A filter compiled before, over `spec.linux.seccomp`.
    pub seccomp: Option<&'a Program>,
    /// How many descriptors from 3 on the process inherits.
    pub preserve_fds: u32,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// `chroot`-less `MS_MOVE` root instead of `pivot_root`, for an initramfs.
    pub no_pivot: bool,
    /// The process waits for a connection on this listening socket instead of for [`Created::start`], so that
    /// another program can start it (`dhow oci create`, then `start`).
    pub start_listener: Option<OwnedFd>,
}

impl<'a> Launch<'a> {
    /// A launch with nothing special.
    pub fn new(id: &'a str, bundle: &'a Path, spec: &'a Spec, rootfs: Rootfs<'a>, stdio: Stdio) -> Self {
        Self {
            id,
            bundle,
            spec,
            rootfs,
            stdio,
            cgroup: None,
            namespaces: &[],
            parent_death_signal: None,
            init_binary: None,
            seccomp: None,
            preserve_fds: 0,
            no_new_keyring: false,
            no_pivot: false,
            start_listener: None,
        }
    }
}

/// Everything [`exec`](crate::exec) needs.
pub struct Exec<'a> {
    /// The container's first process, held by the caller so that its pid can't be used anew.
    pub init: BorrowedFd<'a>,
    /// The container's document: which namespaces to join, which filter.
    pub spec: &'a Spec,
    /// What to run.
    pub process: &'a Process,
    /// Standard streams.
    pub stdio: Stdio,
    /// The container's group.
    pub cgroup: Option<&'a Group>,
    /// A filter compiled before, over `spec.linux.seccomp`.
    pub seccomp: Option<&'a Program>,
    /// Sent to the process when the thread that called `exec` dies.
    pub parent_death_signal: Option<Signal>,
    /// How many descriptors from 3 on the process inherits.
    pub preserve_fds: u32,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
}

impl<'a> Exec<'a> {
    /// An exec with nothing special.
    pub fn new(init: BorrowedFd<'a>, spec: &'a Spec, process: &'a Process, stdio: Stdio) -> Self {
        Self {
            init,
            spec,
            process,
            stdio,
            cgroup: None,
            seccomp: None,
            parent_death_signal: None,
            preserve_fds: 0,
            no_new_keyring: false,
        }
    }
}
