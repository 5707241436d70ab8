//! Extended attributes of what is open, without those that belong to this machine or to overlayfs.

use super::io;
use crate::apply::xattr::{allowed, is_void};
use dhow_types::{Context as _, Error, ErrorKind, Result};
use rustix::io::Errno;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Longest list of attribute names of one file, and longest value: the kernel's own bounds.
const MAX_XATTR: usize = 64 << 10;
/// Most bytes of names and values of one file: an archive's header must have room for them.
const MAX_ALL: usize = 768 << 10;

/// A name and a value.
pub type Attribute = (Vec<u8>, Vec<u8>);

/// The attributes of an open file, directory or mere name (`O_PATH`), sorted by name: those an image may have.
pub fn attributes(of: BorrowedFd<'_>) -> Result<Vec<Attribute>> {
    // By this way also of links and devices, which can't be opened.
    let path = format!("/proc/self/fd/{}", of.as_raw_fd());
    let mut names = vec![0u8; MAX_XATTR];
    let len = match rustix::fs::listxattr(&path, names.as_mut_slice()) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(len) => len,
        Err(e) => return Err(io(e)).context("list attributes"),
    };
    let mut out = Vec::new();
    let mut value = vec![0u8; MAX_XATTR];
    let mut all = 0;
    for name in names[..len].split(|b| *b == 0).filter(|n| !n.is_empty() && allowed(n)) {
        let len = match rustix::fs::getxattr(&path, name, value.as_mut_slice()) {
            Ok(len) => len,
            // Taken away meanwhile.
            Err(Errno::NODATA) => continue,
            // It was set without any bytes, which the kernel allows and then can't read.
            Err(Errno::INVAL) if is_void(name, b"") => continue,
            Err(e) => return Err(io(e)).with_context(|| format!("read attribute {}", crate::names::shown(name))),
        };
        all += name.len() + len;
        if all > MAX_ALL {
            let text = format!("more than {} KiB of extended attributes on one file", MAX_ALL >> 10);
            return Err(Error::new(ErrorKind::Exhausted, text));
        }
        out.push((name.to_vec(), value[..len].to_vec()));
    }
    out.sort();
    Ok(out)
}
