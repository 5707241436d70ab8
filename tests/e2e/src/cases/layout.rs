//! What docs/storage.md tells a person to do by hand, done as it stands there.

use crate::daemon::Daemon;
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::process::Command;

super::cases!("layout": commands_of_the_document, a_root_that_was_copied_elsewhere);

const DOCUMENT: &str = include_str!("../../../../docs/storage.md");

/// The block of commands that begins with `# by hand: NAME`.
fn block(name: &str) -> Result<&'static str> {
    let begin = format!("```sh\n# by hand: {name}\n");
    let (_, rest) = DOCUMENT.split_once(&begin).with_context(|| format!("no block {name:?}"))?;
    Ok(rest.split_once("```").context("a block without end")?.0)
}

/// Runs a block, with mounts of its own and a folder of its own in the place of /tmp.
fn by_hand(d: &Daemon, name: &str) -> Result<String> {
    let scratch = d.dir.path().join("scratch");
    std::fs::create_dir_all(&scratch)?;
    let script = format!("set -eu\n{}", block(name)?.replace("/tmp/", &format!("{}/", scratch.display())));
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .env("ROOT", d.root())
        .env("GOOD", d.dir.path().join("good"))
        .output()?;
    ensure!(output.status.success(), "{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn commands_of_the_document(w: &World) -> Result<()> {
    let there = |program: &&&str| Path::new("/usr/bin").join(program).exists();
    if let Some(missing) = ["python3", "sqlite3", "zstd"].iter().find(|p| !there(p)) {
        return crate::runner::skip(format!("{missing} is not installed"));
    }
    let d = w.own_daemon()?;
    d.ok(&["run", "--name", "web", "busybox", "sh", "-c", "echo by web > /root/written; rm /etc/group"])?;
    // The bytes for the file that will be bad.
    let good = d.dir.path().join("good");
    std::fs::create_dir_all(&good)?;
    let tar = d.dir.path().join("web.tar");
    d.ok(&["export", "-o", &tar.display().to_string(), "web"])?;
    let unpacked = Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&good).arg("bin/busybox").status()?;
    ensure!(unpacked.success(), "tar: {unpacked}");
    let id = d.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    let id = id.trim_start_matches("sha256:");

    let locked = || Command::new("flock").arg("-n").arg(d.root().join("lock")).arg("true").status();
    ensure!(!locked()?.success(), "the lock is free although a daemon runs");
    d.kill()?;
    ensure!(locked()?.success(), "the lock is held although no daemon runs");

    let listed = by_hand(&d, "which images there are")?;
    ensure!(listed.contains(&format!("docker.io/library/busybox:latest|{id}")), "{listed}");
    let listed = by_hand(&d, "mount an image")?;
    ensure!(listed.lines().any(|l| l == "busybox"), "{listed}");
    let seen = by_hand(&d, "mount what a container saw, or take only what it wrote")?;
    ensure!(seen.starts_with("by web\n") && seen.lines().any(|l| l == "etc"), "{seen}");
    let checked = by_hand(&d, "write a layer's tar")?;
    ensure!(checked.contains("/layer.tar: OK"), "{checked}");

    // Damage: the check names it, the document mends it.
    let bad = std::fs::read_dir(d.root().join("layers"))?
        .filter_map(|e| Some(e.ok()?.path().join("bin/busybox")))
        .find(|p| p.exists())
        .context("no layer has bin/busybox")?;
    let mut bytes = std::fs::read(&bad)?;
    let time = std::fs::metadata(&bad)?.modified()?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&bad, &bytes)?;
    std::fs::File::options().write(true).open(&bad)?.set_modified(time)?;
    let root = d.root().display().to_string();
    let check = |want: i32| -> Result<()> {
        let r = d.cli(&["system", "check", "--root", &root])?;
        ensure!(r.code == want, "want exit code {want}: {r:?}");
        Ok(())
    };
    check(1)?;
    by_hand(&d, "give a file of a layer its bytes back")?;
    check(0)?;

    by_hand(&d, "name an image")?;
    std::fs::create_dir(d.root().join("tmp/half"))?;
    std::fs::create_dir(d.root().join("trash/rest"))?;
    by_hand(&d, "free what nobody needs")?;
    ensure!(std::fs::read_dir(d.root().join("tmp"))?.next().is_none(), "tmp is not empty");
    check(0)?;
    d.up()?;
    ensure!(d.ok(&["images", "-q", "found"])?.lines().count() == 1, "the name given by hand is not there");
    ensure!(d.ok(&["run", "--rm", "busybox", "echo", "whole"])? == "whole", "the mended image does not run");
    Ok(())
}

fn a_root_that_was_copied_elsewhere(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "--name", "web", "-v", "data:/data", "busybox", "sh", "-c", "echo kept > /data/f; echo said"])?;
    d.kill()?;
    // Another daemon, whose root is elsewhere, gets a copy in the place of its own.
    let other = w.own_daemon()?;
    other.kill()?;
    std::fs::remove_dir_all(other.root())?;
    let copied = Command::new("cp").arg("-a").args([d.root(), other.root()]).status()?;
    ensure!(copied.success(), "cp: {copied}");
    drop(d);
    let d = other;
    d.up()?;
    ensure!(d.ok(&["logs", "web"])? == "said", "the log is gone");
    d.ok(&["start", "web"])?;
    ensure!(d.ok(&["wait", "web"])? == "0", "the container does not run again");
    ensure!(d.ok(&["run", "--rm", "-v", "data:/data", "busybox", "cat", "/data/f"])? == "kept", "the volume is gone");
    let r = d.cli(&["system", "check"])?;
    ensure!(r.code == 0, "{r:?}");
    Ok(())
}
