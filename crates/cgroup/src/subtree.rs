//! Handing controllers down the v2 tree: a group can use a controller only if each group above it hands it out, and a
//! group hands out only while it has no processes of its own (cgroup-v2.rst, "No Internal Process Constraint").
//!
//! The one group whose processes may be moved out of the way is our own: they go into a leaf beside the groups.

use std::io;

use dhow_types::{Context, Error, ErrorKind, Result};
use rustix::io::Errno;

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
    let lacks = |c: &&&str| !control.split_whitespace().any(|h| h == **c);
    let needed: Vec<&str> = needed.iter().filter(lacks).copied().collect();
    let welcome: Vec<&str> = welcome.iter().filter(lacks).copied().collect();
    if needed.is_empty() && welcome.is_empty() {
        return Ok(());
    }
    // For controllers of threads (cpu, cpuset, pids) the kernel does not refuse a group with processes, but makes the
    // groups inside unusable for whole processes. So it is never left to the kernel to refuse.
    let own = || own_processes(dir).with_context(|| format!("list the processes of {at}"));
    let mut busy = !own()?.is_empty();
    if busy && needed.is_empty() {
        // Only statistics suffer.
        return Ok(());
    }
    for _ in 0..MAX_ROUNDS {
        if !busy || !is_ours(hierarchy, at) {
            break;
        }
        make_way(root, dir, at)?;
        busy = !own()?.is_empty();
    }
    for controller in needed {
        match if busy { Err(Errno::BUSY.into()) } else { give(dir, controller) } {
            Ok(()) => {}
            Err(e) if Errno::from_io_error(&e) == Some(Errno::BUSY) => {
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
    for controller in welcome {
        // Only statistics suffer where it does not work.
        let _ = give(dir, controller);
    }
    Ok(())
}

/// The processes that keep a group from handing out controllers. The real root may have some; it alone has no type.
fn own_processes(dir: &GroupDir) -> io::Result<Vec<i32>> {
    if dir.has("cgroup.type") { dir.pids() } else { Ok(Vec::new()) }
}

/// Whether whole processes can live in the group: not where a group above keeps processes and hands out controllers
/// of threads.
pub(crate) fn check_usable(dir: &GroupDir, path: &str) -> Result<()> {
    match dir.read("cgroup.type") {
        Ok(kind) if kind.trim_end() == "domain invalid" || kind.trim_end() == "threaded" => Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "the control group {path} can't hold processes ({}), because a group above it has processes of its \
                 own; choose another parent with --cgroup-parent",
                kind.trim_end()
            ),
        )),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).with_context(|| format!("read the type of {path}")),
        _ => Ok(()),
    }
}

fn give(dir: &GroupDir, controller: &str) -> io::Result<()> {
    dir.write("cgroup.subtree_control", &format!("+{controller}"))
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
    for pid in own_processes(dir).with_context(|| format!("list the processes of {at}"))? {
        if pid == 0 {
            // It belongs to another process namespace and can't be named from here; and 0 would be this process.
            continue;
        }
        match leaf.write("cgroup.procs", &pid.to_string()) {
            // It ended in the meantime, or is a thread of the kernel's, which stays where it is.
            Err(e) if Errno::from_io_error(&e) == Some(Errno::SRCH) || e.kind() == io::ErrorKind::InvalidInput => {}
            result => result.with_context(|| format!("move process {pid} from {at} to {leaf_path}"))?,
        }
    }
    Ok(())
}
