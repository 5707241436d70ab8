//! `HOME` for a document that has none: from the container's own passwd file, as runc does it.
//!
//! The file belongs to the image: it is opened inside the root, must be regular, and is read up to a limit (2025-4437).

use dhow_sys::path;
use rustix::fs::{FileType, Mode, OFlags, fstat};
use std::os::fd::BorrowedFd;
use std::path::Path;

/// The most of a passwd file that is read.
const MAX_PASSWD: u64 = 10 << 20;

/// The home directory of `uid`; `/` if nothing says otherwise.
pub(crate) fn of(root: BorrowedFd<'_>, uid: u32) -> String {
    lookup(root, uid).unwrap_or_else(|| "/".to_owned())
}

fn lookup(root: BorrowedFd<'_>, uid: u32) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let probe = path::open(root, Path::new("/etc/passwd"), OFlags::PATH).ok()?;
    let stat = fstat(&probe).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size as u64 > MAX_PASSWD {
        return None;
    }
    let file = path::open(root, Path::new("/etc/passwd"), flags).ok()?;
    if !path::same_file(&probe, &file).ok()? {
        return None;
    }
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::from(file), MAX_PASSWD), &mut text).ok()?;
    home_in(&String::from_utf8_lossy(&text), uid)
}

fn home_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (_, _, id, _, _, home) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(uid) && home.starts_with('/')).then(|| home.to_owned())
    })
}

/// Opens the current root for [`of`].
pub(crate) fn root() -> Option<std::os::fd::OwnedFd> {
    rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_field_of_the_first_line_with_the_id() {
        let passwd = "# x\nbad:line\nroot:x:0:0:root:/root:/bin/sh\nx:x:1::::\ny:x:1:1:y:/y:/bin/sh\n";
        assert_eq!(home_in(passwd, 0).as_deref(), Some("/root"));
        assert_eq!(home_in(passwd, 1).as_deref(), Some("/y"));
        assert_eq!(home_in(passwd, 2), None);
    }
}
