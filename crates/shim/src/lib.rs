//! The supervisor of one container: a small process of one thread that owns the container's stdio, writes its log,
//! serves attach, exec and resize, reaps it, and records how it ended. And the protocol the engine speaks to it.
//!
//! Shims are forked, without exec, from one small zygote per state folder, so that an idle one costs some forty
//! kilobytes. Nothing here knows images, networks, HTTP or an asynchronous runtime; nothing here prints.

mod attached;
mod capture;
pub mod client;
mod clock;
mod connection;
mod control;
mod detach;
pub mod exit;
pub mod frame;
mod heed;
mod launch;
mod log;
mod pace;
mod paths;
pub mod protocol;
mod reactor;
mod sinks;
mod stdio;
mod supervisor;
mod zygote;

pub use dhow_runtime::seccomp;
pub use dhow_runtime::spec;
pub use dhow_sys::fork::release_memory;
pub use frame::{FrameDecoder, encode_call, encode_frame, send_bytes, send_frame};
pub use zygote::zygote_main;
