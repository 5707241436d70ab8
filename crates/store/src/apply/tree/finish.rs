//! The last steps on a tree: what directories could only get when everything in them was made, and the
//! content that the recipe needs and the tree no longer has.

use super::{DIR_FLAGS, Dir, INSIDE, Late, Tree, What, io, times, what};
use crate::apply::{Workplace, xattr};
use crate::names::{split, within};
use crate::recipe;
use dhow_types::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, futimens, openat, openat2, statat, utimensat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::rc::Rc;

impl Tree {
    /// Times and inheritable marks of directories, then the content that the tree no longer has.
    pub(in crate::apply) fn finish(&mut self, place: &Workplace) -> Result<()> {
        for late in std::mem::take(&mut self.late) {
            let (parent, name) = split(&late.path);
            let dir = match self.strictly(parent) {
                Ok(dir) => dir,
                // Replaced by something else since.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(e) => return Err(io(e)),
            };
            // Without replacements every name is still the directory it was.
            let same = || statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|s| what(&s) == What::Dir);
            if !self.lost.is_empty() && !same() {
                continue;
            }
            if late.mode.is_some() || late.default_acl.is_some() {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = openat(&dir.fd, name, flags, Mode::empty()).map_err(io)?;
                self.late_marks(fd.as_fd(), &late)?;
            }
            utimensat(&dir.fd, name, &times(late.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
        }
        let root = Rc::clone(&self.root);
        if let Some(late) = self.root_late.take() {
            self.late_marks(root.fd.as_fd(), &late)?;
        }
        futimens(&root.fd, &times(self.root_mtime.unwrap_or_default())).map_err(io)?;
        self.open.clear();
        self.keep_lost_content(place)
    }

    fn late_marks(&mut self, fd: BorrowedFd<'_>, late: &Late) -> Result<()> {
        if let Some(acl) = &late.default_acl {
            self.attribute(xattr::DEFAULT_ACL, |k| xattr::set(fd, k, acl))?;
        }
        if let Some(mode) = late.mode {
            fchmod(fd, Mode::from_raw_mode(mode)).map_err(io)?;
        }
        Ok(())
    }

    /// The directory with this real path; links are not followed.
    fn strictly(&mut self, path: &[u8]) -> Result<Rc<Dir>, Errno> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some((_, dir)) = self.open.iter().rev().find(|(p, d)| p == path && d.path == path) {
            return Ok(Rc::clone(dir));
        }
        let fd = openat2(&self.root.fd, path, DIR_FLAGS, Mode::empty(), INSIDE)?;
        Ok(self.remember(path, Dir { fd, path: path.to_vec() }))
    }

    /// Finds which records of the recipe refer to something that was moved aside, and writes that content down.
    fn keep_lost_content(&mut self, place: &Workplace) -> Result<()> {
        let Some(lost_dir) = self.lost_dir.take() else { return Ok(()) };
        // By path, in the order of time: a record's content is in the first thing moved aside after it
        // that was at its path or above it.
        let mut at: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (index, lost) in self.lost.iter().enumerate() {
            at.entry(&lost.path).or_default().push(index);
        }
        let mut recipe = recipe::Reader::open(&place.recipe)?;
        let mut out = None;
        let mut number = 0;
        while let Some(record) = recipe.next()? {
            let recipe::Record::File { path, pieces } = record else { continue };
            let first = ancestors(&path).filter_map(|p| at.get(p)?.iter().find(|&&i| self.lost[i].when > number)).min();
            if let Some(&index) = first {
                let lost = &self.lost[index];
                let mut inside = index.to_string().into_bytes();
                inside.extend_from_slice(&path[lost.path.len()..]);
                if !lost.kept || !within(&path, &lost.path) {
                    return Err(Error::new(ErrorKind::System, "content that the recipe needs was not kept"));
                }
                let file = crate::rebuild::open_regular(&lost_dir, &inside)
                    .map_err(|fault| Error::new(ErrorKind::System, format!("replaced content {fault}")))?;
                let out = match &mut out {
                    Some(out) => out,
                    None => out.insert(recipe::DisplacedWriter::create(&place.displaced)?),
                };
                out.add(number, &file, &pieces)?;
            }
            number += 1;
        }
        out.map_or(Ok(()), recipe::DisplacedWriter::finish)
    }
}

/// A path and every directory above it, the longest first.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |p| p.iter().rposition(|&b| b == b'/').map(|at| &p[..at]))
}
