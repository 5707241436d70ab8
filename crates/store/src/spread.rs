//! Where on the disk new trees begin: a hint to the file system, without which everything still works.
//!
//! ext4 puts a new directory near its parent, and a file near its directory. Beneath one parent all layers would share
//! a few block groups, and there each new inode is looked for among those that were deleted in the last minutes, one by
//! one (`recently_deleted` in fs/ext4/ialloc.c): a load soon after a removal takes ten times as long, and what a
//! container writes as well. Directories
//! beneath one that is marked as a top directory are spread over the disk instead, by a hash of their names.

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

/// Marks `dir`: what is made in it shall be spread. File systems without such a mark refuse, which does no harm.
pub fn spread(dir: &Path) {
    if let Ok(fd) = std::fs::File::open(dir)
        && let Ok(flags) = ioctl_getflags(&fd)
    {
        let _ = ioctl_setflags(&fd, flags | IFlags::TOPDIR);
    }
}

/// A name that no earlier directory had, since equal names lead to the same place.
pub(crate) fn fresh_name(prefix: &str, number: usize) -> String {
    format!("{prefix}-{number}-{:08x}", RandomState::new().hash_one(number) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_where_it_can_and_never_fails() {
        let dir = tempfile::tempdir().unwrap();
        spread(dir.path());
        spread(Path::new("/proc"));
        spread(&dir.path().join("absent"));
        std::fs::create_dir(dir.path().join(fresh_name("layer", 0))).unwrap();
        assert_ne!(fresh_name("layer", 1), fresh_name("layer", 1));
    }
}
