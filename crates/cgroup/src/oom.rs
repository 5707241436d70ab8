//! (rough)
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use dhow_types::Result;
/// Becomes readable when the kernel runs out of memory for the group.
#[derive(Debug)]
pub struct OomWatch { fd: OwnedFd }
impl OomWatch {
    /// Takes the news from the descriptor; the kills counted so far.
    pub fn take(&mut self) -> Result<u64> { Ok(0) }
}
impl AsFd for OomWatch { fn as_fd(&self) -> BorrowedFd<'_> { self.fd.as_fd() } }
