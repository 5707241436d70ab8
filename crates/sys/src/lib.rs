//! The only `unsafe` of dhow: system calls that rustix lacks, and paths walked inside a root by file
//! descriptor. Each module wraps one kernel interface in a safe function; each `unsafe` block states why it is sound.
//!
//! No policy lives here, and nothing that knows what a container is.
#![allow(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks)]

pub mod ask;
pub mod bpf;
pub mod clone;
pub mod exec;
pub mod fds;
pub mod fork;
pub mod guest;
pub mod heap;
pub mod mount;
pub mod netns;
pub mod path;
pub mod procfs;
pub mod scm;
pub mod seccomp;
pub mod signals;
