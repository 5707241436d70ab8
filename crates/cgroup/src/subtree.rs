//! Handing controllers down the v2 tree: a group can use a controller only if each group above it hands it out, and a
//! group hands out only while it has no processes of its own (cgroup-v2.rst, "No Internal Process Constraint").
//!
//! The one group whose processes may be moved out of the way is our own: they go into a leaf beside the groups.

use std::io;

use dhow_types::{Context, Error, ErrorKind, Result};

use crate::dir::GroupDir;
use crate::layout::{DAEMON_LEAF, Hierarchy};
use crate::path::{components, join};

/// How often our own group is emptied before giving up: something keeps putting processes into it.
const MAX_ROUNDS: usize = 16;

/// Makes `needed`, and where it costs nothing `welcome`, usable in the group at `path`, opened as `leaf`.
pub(crate) fn enable(
    hierarchy: &Hierarchy,
    root: &GroupDir,
    path: &str,
    leaf: &GroupDir,
    needed: &[&str],
    welcome: &[&str],
) -> Result<()> {
    let has = leaf.read("cgroup.controllers").with_context(|| format!("read the controllers of {path}"))?;
    let lacks = |c: &&&str| !has.split_whitespace().any(|h| h == **c);
    let needed: Vec<&str> = needed.iter().filter(lacks).copied().collect();
    // What the whole hierarchy does not have can't be handed down; `missing` has spoken where it was asked for.
    let welcome: Vec<&str> = welcome.iter().filter(lacks).filter(|c| hierarchy.has(c)).copied().collect();
    if needed.is_empty() && welcome.is_empty() {
        return Ok(());
    }
    let mut at = String::from("/");
    let mut dir = root.open("/").with_context(|| format!("open {}", hierarchy.mount_point().display()))?;
    for name in components(path) {
        hand_out(hierarchy, root, &dir, &at, &needed, &welcome)?;
        at = join(&at, &format!("/{name}"));
        dir = dir.open(name).with_context(|| format!("open the control group {at}"))?;
    }
    Ok(())
}

fn hand_out(
    hierarchy: &Hierarchy,
    root: &GroupDir,
    dir: &GroupDir,
    at: &str,
    needed: &[&str],
    welcome: &[&str],
) -> Result<()> {
    let control = dir.read("cgroup.subtree_control").with_context(|| format!("read what {at} hands out"))?;
    let lacks = |c: &&str| !control.split_whitespace().any(|h| h == *c);
    for &controller in needed.iter().filter(|c| lacks(c)) {
        let mut result = give(dir, controller);
        for _ in 0..MAX_ROUNDS {
            if !is_busy(&result) || !is_ours(hierarchy, at) {
                break;
            }
            make_way(root, dir, at)?;
            result = give(dir, controller);
        }
        match result {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!(
                        "the control group {at} has processes of its own, so it can't hand the {controller} \
                         controller to groups inside; move them into a group beneath it, or choose another parent \
                         with --cgroup-parent"
                    ),
                ));
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!(
                        "the control group {at} does not have the {controller} controller, because a group above it \
                         does not hand it out; delegate it, or choose another parent with --cgroup-parent"
                    ),
                ));
            }
            Err(e) => return Err(e).with_context(|| format!("hand the {controller} controller out in {at}")),
        }
    }
    for &controller in welcome.iter().filter(|c| lacks(c)) {
        // Only statistics suffer where it does not work.
        let _ = give(dir, controller);
    }
    Ok(())
}

fn give(dir: &GroupDir, controller: &str) -> io::Result<()> {
    dir.write("cgroup.subtree_control", &format!("+{controller}"))
}

fn is_busy(result: &io::Result<()>) -> bool {
    matches!(result, Err(e) if e.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()))
}

/// Whether the group at `at` is the one this process sits in, or sat in before it moved into the leaf.
fn is_ours(hierarchy: &Hierarchy, at: &str) -> bool {
    hierarchy.own() == at || hierarchy.own() == join(at, &format!("/{DAEMON_LEAF}"))
}

/// Moves all processes of our own group into its leaf.
fn make_way(root: &GroupDir, dir: &GroupDir, at: &str) -> Result<()> {
    let leaf_path = join(at, &format!("/{DAEMON_LEAF}"));
    dir.make(DAEMON_LEAF).with_context(|| format!("make the control group {leaf_path}"))?;
    let leaf = root.open(&leaf_path).with_context(|| format!("open the control group {leaf_path}"))?;
    for pid in dir.pids().with_context(|| format!("list the processes of {at}"))? {
        match leaf.write("cgroup.procs", &pid.to_string()) {
            // It ended in the meantime, or is a thread of the kernel's, which stays where it is.
            Err(e)
                if e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
                    || e.kind() == io::ErrorKind::InvalidInput => {}
            result => result.with_context(|| format!("move process {pid} from {at} to {leaf_path}"))?,
        }
    }
    Ok(())
}
