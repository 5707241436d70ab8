//! One tree, seen from several sides: what a container sees through overlayfs, what `export` reads from the layers without
//! mounting them, and what a commit makes of it.

use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use dhow_corpus::wrap::{config, docker_archive};
use dhow_corpus::{Head, Tar};
use std::path::Path;
use std::process::Command;

super::cases!("overlay":
    layers_as_seen_and_as_exported, what_a_container_does_as_seen_exported_and_committed,
    deletions_of_nothing_are_not_seen,
);

/// Prints every path below `/t` with its kind, mode, owner and time, and the content of files.
const LOOK: &str = "cd /t && find . | sort | while read -r p; do \
    stat -c '%n %f %u:%g %Y' \"$p\"; test -f \"$p\" -a ! -h \"$p\" && cat \"$p\"; done; true";

/// Busybox, and the beginning of the tree.
fn base() -> Result<Tar> {
    let program = std::fs::read("/bin/busybox").context("/bin/busybox")?;
    let head = Head { mode: 0o755, size: program.len() as u64, ..Head::new(b'0', "bin/busybox") };
    let mut tar = Tar::new().dir("bin").head(head).data(&program);
    for applet in ["sh", "find", "sort", "stat", "cat", "test", "sleep", "mkdir", "rm", "mv", "ln", "chmod", "touch"] {
        tar = tar.symlink(format!("bin/{applet}"), "busybox");
    }
    Ok(tar.dir("t"))
}

fn load(d: &Daemon, name: &str, layers: &[Vec<u8>]) -> Result<()> {
    let archive = docker_archive(Some(name), &config(layers), layers);
    d.with_input(&["load", "-q"], &archive)?.ok()?;
    Ok(())
}

/// A layer that deletes what no layer below has, as squashed images do: overlayfs alone would list a name that leads
/// nowhere, and the directory could not be removed.
fn deletions_of_nothing_are_not_seen(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let upper = Tar::new().dir("t/d").file("t/d/.wh.gone", b"").file("t/d/there", b"1").file("t/.wh.too", b"").end();
    // One whose place another entry takes, and one below it all: what is there stays.
    let over = Tar::new().dir("t/e").file("t/e/.wh.x", b"").file("t/e/x", b"2").end();
    load(d.as_ref(), "ghosts", &[base()?.end(), upper, over])?;
    let script = "find /t | sort; rm -r /t/d /t/e && find /t";
    let seen = d.ok(&["run", "--rm", "ghosts", "sh", "-c", script])?;
    ensure!(seen == "/t\n/t/d\n/t/d/there\n/t/e\n/t/e/x\n/t", "{seen}");
    d.ok(&["rmi", "ghosts"])?;
    Ok(())
}

/// What [`LOOK`] shows of a container's export, unpacked by GNU tar.
fn exported(d: &Daemon, container: &str) -> Result<String> {
    let dir = tempfile::tempdir_in(d.dir.path())?;
    let (file, root) = (dir.path().join("x.tar"), dir.path().join("root"));
    std::fs::create_dir(&root)?;
    d.ok(&["export", "-o", &file.display().to_string(), container])?;
    unpack(&file, &root)?;
    let out = Command::new("chroot").arg(&root).args(["/bin/sh", "-c", LOOK]).output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8(out.stdout)?.trim_end().to_owned())
}

fn unpack(archive: &Path, root: &Path) -> Result<()> {
    let flags = ["--numeric-owner", "--delay-directory-restore", "-P", "--xattrs", "--xattrs-include=*", "-xpf"];
    let status = Command::new("tar").args(flags).arg(archive).arg("-C").arg(root).status()?;
    ensure!(status.success(), "tar {}", archive.display());
    Ok(())
}

/// The paths alone, of lines that begin with one.
fn paths(seen: &str) -> Vec<&str> {
    seen.lines().filter(|l| l.starts_with("./")).filter_map(|l| l.split(' ').next()).collect()
}

fn same(what: &str, one: &str, other: &str) -> Result<()> {
    let differ = one.lines().zip(other.lines()).find(|(a, b)| a != b);
    ensure!(one == other, "{what}: {differ:?}\n{one}\n--- and\n{other}");
    Ok(())
}

fn layers_as_seen_and_as_exported(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let low = base()?
        .dir("t/a")
        .file("t/a/x", b"low\n")
        .file("t/a/y", b"low\n")
        .file("t/file-then-dir", b"low\n")
        .dir("t/dir-then-file")
        .file("t/dir-then-file/hidden", b"low\n")
        .dir("t/opaque")
        .file("t/opaque/old", b"low\n")
        .dir("t/opaque/sub")
        .file("t/opaque/sub/old", b"low\n")
        .file("t/h1", b"linked\n")
        .hardlink("t/h2", "t/h1")
        .hardlink("t/h3", "t/h1")
        .dir("t/gone")
        .dir("t/gone/deep")
        .file("t/gone/deep/old", b"low\n")
        .symlink("t/link", "a")
        .file("t/again", b"low\n")
        .file("t/.whodunit", b"low\n")
        .end();
    let middle = Tar::new()
        .dir("t")
        .file("t/.wh.gone", b"")
        .file("t/dir-then-file", b"middle\n")
        .dir("t/file-then-dir")
        .file("t/file-then-dir/inner", b"middle\n")
        .dir("t/opaque")
        .file("t/opaque/.wh..wh..opq", b"")
        .file("t/opaque/new", b"middle\n")
        .dir("t/a")
        .file("t/a/.wh.x", b"")
        .file("t/.wh.h1", b"")
        .file("t/.wh.again", b"")
        .dir("t/link")
        .file("t/link/inside", b"middle\n")
        .end();
    let top = Tar::new()
        .dir("t")
        .dir("t/opaque")
        .file("t/opaque/refilled", b"top\n")
        .dir("t/opaque/sub")
        .file("t/opaque/sub/back", b"top\n")
        .dir("t/gone")
        .file("t/gone/fresh", b"top\n")
        .file("t/again", b"top\n")
        .dir("t/a")
        .file("t/a/.wh.y", b"")
        .file("t/a/x", b"top\n")
        .file("t/.wh.h3", b"")
        .end();
    load(&d, "sides:1", &[low, middle, top])?;
    let seen = d.ok(&["run", "--rm", "sides:1", "sh", "-c", LOOK])?;
    let want = [
        "./.whodunit",
        "./a",
        "./a/x",
        "./again",
        "./dir-then-file",
        "./file-then-dir",
        "./file-then-dir/inner",
        "./gone",
        "./gone/fresh",
        "./h2",
        "./link",
        "./link/inside",
        "./opaque",
        "./opaque/new",
        "./opaque/refilled",
        "./opaque/sub",
        "./opaque/sub/back",
    ];
    ensure!(paths(&seen) == want, "{seen}");
    ensure!(seen.contains("top\n./dir-then-file") && seen.contains("linked"), "{seen}");
    d.ok(&["create", "--name", "sides", "sides:1"])?;
    same("seen in a container, and exported", &seen, &exported(&d, "sides")?)?;
    d.ok(&["rm", "sides"])?;
    d.ok(&["rmi", "sides:1"])?;
    Ok(())
}

/// Everything by which overlayfs has to remember that something below is gone.
const DEEDS: &str = "cd /t && rm -r opaque && mkdir opaque && echo c > opaque/refilled && mv d moved && rm h1 \
    && rm f && mkdir f && echo c > f/inner && rm -r e && echo c > e && chmod 750 keep && rm keep/x && echo c > keep/new \
    && rm link && mkdir link && ln h2 h4 && touch -d @1000000000 . && echo ready && sleep 1000";

fn what_a_container_does_as_seen_exported_and_committed(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let low = base()?
        .dir("t/opaque")
        .file("t/opaque/old", b"low\n")
        .dir("t/d")
        .file("t/d/x", b"low\n")
        .dir("t/d/sub")
        .file("t/h1", b"linked\n")
        .hardlink("t/h2", "t/h1")
        .file("t/f", b"low\n")
        .dir("t/e")
        .file("t/e/old", b"low\n")
        .dir("t/keep")
        .file("t/keep/x", b"low\n")
        .file("t/keep/y", b"low\n")
        .symlink("t/link", "keep")
        .end();
    load(&d, "deeds:1", &[low])?;
    d.ok(&["run", "-d", "--name", "deeds", "deeds:1", "sh", "-c", DEEDS])?;
    until("the container's deeds", || Ok(d.ok(&["logs", "deeds"])?.contains("ready").then_some(())))?;
    let seen = d.ok(&["exec", "deeds", "sh", "-c", LOOK])?;
    let want = [
        "./e",
        "./f",
        "./f/inner",
        "./h2",
        "./h4",
        "./keep",
        "./keep/new",
        "./keep/y",
        "./link",
        "./moved",
        "./moved/sub",
        "./moved/x",
        "./opaque",
        "./opaque/refilled",
    ];
    ensure!(paths(&seen) == want, "{seen}");
    same("seen in the container, and exported", &seen, &exported(&d, "deeds")?)?;
    d.ok(&["commit", "deeds", "deeds:2"])?;
    same("seen in the container, and in its image", &seen, &d.ok(&["run", "--rm", "deeds:2", "sh", "-c", LOOK])?)?;
    d.ok(&["rm", "-f", "deeds"])?;
    d.ok(&["rmi", "deeds:1", "deeds:2"])?;
    Ok(())
}
