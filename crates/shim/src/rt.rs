#![allow(missing_docs)]
use dhow_types::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
pub struct Created(OwnedFd);
impl Created {
    pub fn pid(&self) -> i32 {
        0
    }
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
    pub fn console(&mut self) -> Option<OwnedFd> {
        None
    }
    pub fn warnings(&self) -> &[String] {
        &[]
    }
    pub fn start(&mut self) -> Result<()> {
        Ok(())
    }
}
pub fn create(_: dhow_runtime::Launch<'_>) -> Result<Created> {
    Err(Error::system("not linked"))
}
pub fn exec(_: dhow_runtime::Exec<'_>) -> Result<Created> {
    Err(Error::system("not linked"))
}
