//! What the new process does between clone and execve. Each step that can fail says what it was about; the error goes
//! back over the wire, and the process ends.
//!
//! ```text
//!  clone3 ─ (ids mapped) ─ cgroups joined ─ namespaces joined ─ root and mounts ─ hooks ─ pivot_root
//!         ─ sysctls, names ─ limits ─ user, capabilities ─ program found ─ READY … START ─ seccomp ─ execve
//! ```
//!
//! The process is not dumpable from its first moment, so nothing in the container can ptrace it or reach its
//! descriptors; every descriptor it has is closed by execve (R4).

pub(crate) mod copyup;
pub(crate) mod dev;
pub(crate) mod hide;
pub(crate) mod home;
pub(crate) mod identity;
pub(crate) mod last;
pub(crate) mod mounts;
pub(crate) mod program;
pub(crate) mod setup;
pub(crate) mod tree;
