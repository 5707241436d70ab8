//! A new network namespace for the calling thread.
//!
//! Entering and leaving existing ones is `rustix::thread::move_into_link_name_space`, which is safe.

use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::io;

/// Moves the calling thread, and no other, into a new and empty network namespace.
///
/// Call it on a thread that ends soon or goes back with `setns`: work that other code later runs on the same thread
/// would see the wrong network.
pub fn unshare_net() -> io::Result<()> {
    // SAFETY: only CLONE_FILES can make file descriptors of other threads unusable (rustix's stated condition), and
    // this passes CLONE_NEWNET alone.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}
