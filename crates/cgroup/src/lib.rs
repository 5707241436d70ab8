//! Control groups: create, limit, read, watch, freeze, kill and delete them, on v2, v1, hybrid and no hierarchy
//! at all, behind one interface.
//!
//! How the pieces fit:
//!
//! ```text
//! Layout::detect  ──►  what this machine has: hierarchies, controllers, our own groups
//!      │                                      (parsers are pure: `layout`, `path`)
//!      ▼
//! plan::{v1,v2}   ──►  which file gets which value, pure tables over `Resources`
//!      │                                      (`convert`, `cpulist`, `devices`, `missing`)
//!      ▼
//! Group           ──►  the executor: directories by descriptor, limits written, processes joined
//!                                          (`group`, `limits`, `subtree`, `freeze`, `kill`, `oom`, `stats`)
//! ```
//!
//! Nothing here knows what a container, an image or Docker's API is; nothing prints, sleeps on the way to a
//! start, or runs another program. The systemd D-Bus interface never lives here.

mod bpf;
mod convert;
mod cpulist;
pub mod devices;
mod dir;
mod freeze;
mod group;
mod kill;
mod layout;
mod limits;
mod missing;
mod mounts;
mod oom;
mod path;
mod plan;
pub mod resources;
pub mod stats;
mod subtree;
mod undo;

pub use group::{Group, Joiner};
pub use kill::held_frozen_by;
pub use layout::{Hierarchy, Layout, Mode, Version};
pub use missing::Missing;
pub use mounts::GroupMount;
pub use oom::OomWatch;
pub use path::{GroupPath, Parent};
pub use resources::Resources;
pub use stats::{CpuStats, HugetlbStats, IoKind, IoStats, MemoryStats, PidsStats, Stats};
pub use undo::Undo;
