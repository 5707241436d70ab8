//! Disk space: what a small or a full disk does to every command, and the sums that are told.

use super::clients::docker;
use crate::daemon::{Daemon, until};
use crate::disk::Disk;
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

super::cases!("space":
    what_cannot_fit_is_refused_at_once, a_disk_that_fills_midway, a_full_disk_in_memory, a_full_disk_of_ext4,
    a_disk_that_takes_no_writes, the_clients_disk, the_sum_is_what_du_says,
);

/// What a small disk holds, in MiB.
const DISK: u32 = 40;

/// A daemon with busybox on a small disk in memory.
fn small(w: &World) -> Result<Daemon> {
    let d = Daemon::start_on(&w.setup, "{}", |dir| Disk::memory(&dir.join("root"), DISK).map(Some))?;
    d.load("busybox")?;
    Ok(d)
}

/// A tar with one file of so many MiB; other names give other bytes.
pub(super) fn tar(d: &Daemon, name: &str, mib: usize) -> Result<PathBuf> {
    let dir = d.dir.path().join(format!("files-{name}"));
    std::fs::create_dir(&dir)?;
    let line = format!("{name} and nothing else\n");
    std::fs::write(dir.join("data"), line.repeat((mib << 20) / line.len() + 1))?;
    let file = d.dir.path().join(format!("{name}.tar"));
    let status = Command::new("tar").arg("-C").arg(&dir).arg("-cf").arg(&file).arg("data").status()?;
    ensure!(status.success(), "tar: {status}");
    std::fs::remove_dir_all(dir)?;
    Ok(file)
}

/// An archive of an image with one file of so many MiB, made by a daemon that has room for it.
fn archive(d: &Daemon, maker: &Daemon, name: &str, mib: usize) -> Result<PathBuf> {
    let image = format!("{name}:made");
    let tar = tar(d, name, mib)?;
    maker.ok(&["import", &tar.display().to_string(), &image])?;
    std::fs::remove_file(tar)?;
    let file = d.dir.path().join(format!("{name}-image.tar"));
    maker.ok(&["save", "-o", &file.display().to_string(), &image])?;
    maker.ok(&["rmi", &image])?;
    Ok(file)
}

/// Everything below the root but the database, by name and length, when nothing is on its way out.
fn settled(d: &Daemon) -> Result<Vec<(PathBuf, u64)>> {
    until("the trash to be empty", || Ok((waste(d)? == 0).then_some(())))?;
    listing(d)
}

fn listing(d: &Daemon) -> Result<Vec<(PathBuf, u64)>> {
    fn walk(dir: &Path, out: &mut Vec<(PathBuf, u64)>) -> Result<()> {
        let entries = match std::fs::read_dir(dir) {
            // On its way out.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let (path, meta) =
                (entry.as_ref().map(std::fs::DirEntry::path), entry.as_ref().map(std::fs::DirEntry::metadata));
            let (Ok(path), Ok(Ok(meta))) = (path, meta) else { continue };
            // The database, and what happened, grow with each command.
            if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("dhow.db") || n == "events") {
                continue;
            }
            out.push((path.clone(), if meta.is_dir() { 0 } else { meta.len() }));
            if meta.is_dir() {
                walk(&path, out)?;
            }
        }
        Ok(())
    }
    let mut out = Vec::new();
    walk(&d.root(), &mut out)?;
    out.sort();
    Ok(out)
}

/// Nothing is on its way in or out, and images are these.
fn nothing_left(d: &Daemon, before: &[(PathBuf, u64)], what: &str) -> Result<()> {
    let mut now = Vec::new();
    let waited = until("nothing to be left", || {
        now = listing(d)?;
        Ok((now == before).then_some(()))
    });
    waited.with_context(|| {
        let more: Vec<_> = now.iter().filter(|n| !before.contains(n)).collect();
        let less: Vec<_> = before.iter().filter(|n| !now.contains(n)).collect();
        format!("{what}: {more:?} came, {less:?} went")
    })
}

/// An answer whose body is long is not waited for: the head of a request, and what is said to it.
fn head_alone(d: &Daemon, path: &str, length: u64) -> Result<(u16, String)> {
    let mut stream = std::os::unix::net::UnixStream::connect(d.dir.path().join("dhow.sock"))?;
    stream.set_read_timeout(Some(crate::daemon::PATIENCE))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n"
    )?;
    let mut text = Vec::new();
    // Until the daemon has said all, or cuts the connection since nobody reads the body.
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut piece) {
        text.extend_from_slice(&piece[..n]);
        if String::from_utf8_lossy(&text).contains("dhow system df") {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).with_context(|| format!("no status: {text}"))?;
    Ok((status, text))
}

fn what_cannot_fit_is_refused_at_once(w: &World) -> Result<()> {
    let d = small(w)?;
    let maker = w.daemon()?;
    let refused =
        ["not enough space", "MB are needed", "are free on the file system of", "`dhow system df`", "another --root"];
    let fits = archive(&d, &maker, "fits", 8)?.display().to_string();
    let big_tar = tar(&d, "big", 44)?.display().to_string();
    // No more of it is read than the head of its layer.
    let (layers, big) = (d.dir.path().join("blobs/sha256"), d.dir.path().join("big-image.tar").display().to_string());
    std::fs::create_dir_all(&layers)?;
    std::fs::copy(&big_tar, layers.join("0".repeat(64)))?;
    let packed = Command::new("tar").arg("-C").arg(d.dir.path()).args(["-cf", &big, "blobs"]).status()?;
    ensure!(packed.success());
    let before = settled(&d)?;
    let images = d.ok(&["images", "-q", "--no-trunc"])?;

    d.cli(&["load", "-i", &big])?.fails(1, &refused)?;
    nothing_left(&d, &before, "load")?;
    d.cli(&["import", &big_tar, "big:tar"])?.fails(1, &refused)?;
    nothing_left(&d, &before, "import")?;
    // Of an archive whose length nobody told, each layer is known before it comes.
    let r = d.with_input(&["load"], &std::fs::read(&big)?)?;
    r.fails(1, &["layer blobs/sha256/", "not enough space"])?;
    nothing_left(&d, &before, "load from a pipe")?;
    // And of one file without a layer's head, the pieces.
    d.with_input(&["import", "-", "big:tar"], &std::fs::read(&big_tar)?)?.fails(1, &["not enough space"])?;
    nothing_left(&d, &before, "import from a pipe")?;
    // Not a byte of the body is awaited. A load says it in its body, an import by its status, which is Docker's.
    let (status, text) = head_alone(&d, "/v1.44/images/load", 44 << 20)?;
    ensure!(status == 200 && text.contains("errorDetail") && text.contains("not enough space"), "{text}");
    let (status, text) = head_alone(&d, "/v1.44/images/create?fromSrc=-&repo=big&tag=tar", 44 << 20)?;
    ensure!(status == 500 && text.contains("not enough space"), "{text}");
    let out = docker(&d, &["load", "-i", &big])?.output()?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(!out.status.success() && said.contains("not enough space"), "{said}");
    nothing_left(&d, &before, "docker load")?;

    // A container that holds half of the disk can't be there twice.
    let script = "dd if=/dev/zero of=/half bs=1M count=24 2>/dev/null";
    d.ok(&["run", "--name", "half", "busybox", "sh", "-c", script])?;
    let with_half = settled(&d)?;
    d.cli(&["commit", "half", "half:made"])?.fails(1, &refused[..2])?;
    nothing_left(&d, &with_half, "commit")?;
    d.ok(&["rm", "half"])?;
    until("its files to go", || Ok((listing(&d)? == before).then_some(())))?;
    ensure!(d.ok(&["images", "-q", "--no-trunc"])? == images);

    // What fits comes in.
    ensure!(d.ok(&["load", "-q", "-i", &fits])?.contains("fits:made"));
    d.ok(&["run", "--name", "small", "busybox", "sh", "-c", "dd if=/dev/zero of=/some bs=1M count=4 2>/dev/null"])?;
    d.ok(&["commit", "small", "small:made"])?;
    ensure!(d.ok(&["run", "--rm", "small:made", "stat", "-c", "%s", "/some"])? == "4194304");
    Ok(())
}

/// Sends the first half of a file to a command, and the rest when `between` has ended.
fn in_halves(
    d: &Daemon,
    words: &[&str],
    file: &Path,
    between: impl FnOnce() -> Result<()>,
) -> Result<crate::daemon::Ran> {
    let bytes = std::fs::read(file)?;
    let mut child = d.command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let (first, second) = bytes.split_at(bytes.len() / 2);
    stdin.write_all(first)?;
    let done = between();
    // The daemon may have stopped reading.
    let _ = stdin.write_all(second);
    drop(stdin);
    let ran = Daemon::finish(child)?;
    done.map(|()| ran)
}

fn a_disk_that_fills_midway(w: &World) -> Result<()> {
    let d = small(w)?;
    let maker = w.daemon()?;
    let image = archive(&d, &maker, "mid", 10)?;
    let tar = tar(&d, "mid", 10)?;
    let before = settled(&d)?;
    let images = d.ok(&["images", "-q", "--no-trunc"])?;
    let root = d.dir.path().join("root").display().to_string();
    // A layer of a load has its space promised, and meets the full disk itself; who does not say how much it is asks
    // for each piece.
    let (full, refused) = (format!("no space left on {root} ("), format!("0 B are free on the file system of {root}"));
    for (words, file, want) in [(&["load"][..], &image, &full), (&["import", "-", "mid:tar"], &tar, &refused)] {
        let free = d.disk()?.free()?;
        let ran = in_halves(&d, words, file, || {
            until("its bytes to come", || Ok((d.disk()?.free()? + (2 << 20) < free).then_some(())))?;
            d.disk()?.fill()
        })?;
        ran.fails(1, &[want, "are free", "`dhow system df`", "`dhow system prune"])?;
        // Still full: nothing of it may be left, and the daemon works.
        until("what came to go", || Ok((std::fs::read_dir(d.root().join("tmp"))?.count() == 0).then_some(())))?;
        ensure!(d.ok(&["images", "-q", "--no-trunc"])? == images);
        d.disk()?.relieve()?;
        nothing_left(&d, &before, words[0])?;
    }
    d.ok(&["load", "-i", &image.display().to_string()])?;
    d.with_input(&["import", "-", "mid:tar"], &std::fs::read(&tar)?)?.ok()?;
    let r = d.cli(&["system", "check"])?;
    ensure!(r.code == 0 && r.out.contains("everything is whole"), "{r:?}");
    Ok(())
}

fn a_full_disk_in_memory(w: &World) -> Result<()> {
    full(small(w)?)
}

fn a_full_disk_of_ext4(w: &World) -> Result<()> {
    let d = Daemon::start_on(&w.setup, "{}", |dir| {
        Disk::ext4(&dir.join("root"), &dir.join("disk"), u64::from(DISK)).map(Some)
    })?;
    d.load("busybox")?;
    full(d)
}

/// Takes all that is free when nothing more is given back.
fn fill(d: &Daemon) -> Result<()> {
    until("the trash to be empty", || Ok((waste(d)? == 0).then_some(())))?;
    d.disk()?.fill()
}

/// What works on a full disk, and what says why it does not.
fn full(d: Daemon) -> Result<()> {
    let tar = tar(&d, "one", 2)?.display().to_string();
    for name in ["one:1", "two:1"] {
        d.ok(&["import", &tar, name])?;
    }
    d.ok(&["import", &self::tar(&d, "other", 3)?.display().to_string(), "other:1"])?;
    let runs = d.ok(&["run", "-d", "--name", "runs", "busybox", "sleep", "100000"])?;
    d.ok(&[
        "run",
        "--name",
        "ended",
        "busybox",
        "sh",
        "-c",
        "echo said; dd if=/dev/zero of=/f bs=1M count=2 2>/dev/null",
    ])?;
    let talks = "while [ ! -e /go ]; do sleep 0.02; done; for i in $(seq 20000); do echo a line that wants a place; done; exit 3";
    d.ok(&[
        "run",
        "-d",
        "--name",
        "talks",
        "--tmpfs",
        "/run",
        "busybox",
        "sh",
        "-c",
        &talks.replace("/go", "/run/go"),
    ])?;
    fill(&d)?;

    // What is refused says which disk, and what to do.
    let root = d.dir.path().join("root").display().to_string();
    let r = d.cli(&["run", "--name", "new", "busybox", "true"])?;
    ensure!(
        r.code == 125
            && r.err.contains(&format!("no space left on {root} (0 B of "))
            && r.err.contains("`dhow system df`"),
        "{r:?}"
    );
    let containers = d.ok(&["ps", "-aq"])?.lines().count();
    ensure!((3..=4).contains(&containers), "{containers}");
    d.cli(&["import", &tar, "three:1"])?.fails(1, &["not enough space", "`dhow system df`"])?;
    d.cli(&["commit", "ended", "three:1"])?.fails(1, &["not enough space"])?;
    // A container goes on, and what is lost of its log is told.
    d.ok(&["exec", "talks", "touch", "/run/go"])?;
    ensure!(d.ok(&["wait", "talks"])? == "3");
    let error = d.inspect("talks")?["State"]["Error"].clone();
    ensure!(error.as_str().is_some_and(|e| e.contains("of the log could not be written")), "{error}");
    // What was there is shown.
    ensure!(d.ok(&["ps", "-q", "--no-trunc"])? == runs && d.ok(&["logs", "ended"])? == "said");
    ensure!(d.ok(&["exec", "runs", "echo", "alive"])? == "alive");
    let (status, _, df) = d.http("GET", "/v1.44/system/df", "")?;
    ensure!(status == 200 && df.contains("LayersSize"), "{status} {df}");
    // How one ended is known, also to the next daemon; which starts on the full disk, killed or ended in good order.
    d.ok(&["stop", "-t", "0", "runs"])?;
    for round in 0..2 {
        if round == 0 {
            d.kill()?
        } else {
            d.end()?
        }
        d.up().context("start on a full disk")?;
        ensure!(d.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "runs"])? == "exited 137", "{round}");
        ensure!(d.disk()?.free()? < 1 << 20, "the disk is not full any more: {}", d.disk()?.free()?);
        fill(&d)?;
    }
    // A name is given and taken, an image goes with its last name, and its bytes are back.
    d.ok(&["tag", "one:1", "again:1"])?;
    d.ok(&["rmi", "again:1"])?;
    d.ok(&["rmi", "other:1"])?;
    until("the image's bytes", || Ok((d.disk()?.free()? >= 3 << 20).then_some(())))?;
    fill(&d)?;
    // So do prunes.
    d.cli(&["rm", "new"])?;
    let (status, _, body) = d.http("POST", "/v1.44/containers/prune", "")?;
    let report: Value = serde_json::from_str(&body)?;
    ensure!(status == 200 && report["ContainersDeleted"].as_array().is_some_and(|c| c.len() == 3), "{status} {body}");
    until("the containers' bytes", || Ok((d.disk()?.free()? >= 2 << 20).then_some(())))?;
    fill(&d)?;
    let (status, _, body) =
        d.http("POST", "/v1.44/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D", "")?;
    ensure!(status == 200 && body.contains("two:1") && body.contains("one:1"), "{status} {body}");
    until("the images' bytes", || Ok((d.disk()?.free()? >= 2 << 20).then_some(())))?;
    ensure!(d.ok(&["ps", "-aq"])?.is_empty());
    // And all is well again.
    d.disk()?.relieve()?;
    d.load("busybox")?;
    ensure!(d.ok(&["run", "--rm", "busybox", "echo", "works"])? == "works");
    let r = d.cli(&["system", "check"])?;
    ensure!(r.code == 0 && r.out.contains("everything is whole"), "{r:?}");
    Ok(())
}

fn a_disk_that_takes_no_writes(w: &World) -> Result<()> {
    let d = Daemon::start_on(&w.setup, "{}", |dir| {
        Disk::ext4(&dir.join("root"), &dir.join("disk"), u64::from(DISK)).map(Some)
    })?;
    d.load("busybox")?;
    let tar = tar(&d, "one", 1)?.display().to_string();
    d.ok(&["import", &tar, "one:1"])?;
    // What the kernel does when the disk itself has failed.
    let root = d.dir.path().join("root");
    let status = d.disk()?.command("mount").args(["-o", "remount,abort"]).arg(&root).status()?;
    ensure!(status.success(), "remount: {status}");
    let root = root.display();
    let advice = format!("{root} can only be read, as the kernel decides after errors of a disk: `dmesg` says more");
    for words in [&["import", &tar, "two:1"][..], &["create", "busybox"], &["tag", "one:1", "two:1"]] {
        let r = d.cli(words)?;
        ensure!(r.code != 0 && r.err.contains(&advice), "{words:?}: {r:?}");
    }
    ensure!(d.ok(&["images", "-q"])?.lines().count() == 3, "what is there can be read");
    Ok(())
}

fn the_clients_disk(w: &World) -> Result<()> {
    let d = small(w)?;
    let maker = w.daemon()?;
    let image = archive(&d, &maker, "out", 8)?;
    d.ok(&["load", "-q", "-i", &image.display().to_string()])?;
    let before = settled(&d)?;
    // The client writes where the daemon does, which is as good as any small disk.
    let save = |words: &[&str]| -> Result<crate::daemon::Ran> {
        let out = d.dir.path().join("root/out.tar");
        let mut command = d.disk()?.command(&w.setup.dhow);
        command.arg("save").arg("-o").arg(out).args(words).env("DHOW_HOST", d.host());
        Daemon::finish(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    };
    fill(&d)?;
    save(&["out:made"])?.fails(1, &["root/out.tar", "no space left", "8.41MB are needed", "0B are free"])?;
    // How large it will be is not known of a compressed one.
    save(&["--compress", "gzip", "out:made"])?.fails(1, &["root/out.tar: write the archive", "no space left"])?;
    ensure!(!d.root().join("out.tar").exists());
    d.disk()?.relieve()?;
    nothing_left(&d, &before, "save")?;
    save(&["out:made"])?.ok()?;
    ensure!(std::fs::metadata(d.root().join("out.tar"))?.len() > 8 << 20);
    Ok(())
}

/// How much there is that was removed and is not yet gone.
pub(super) fn waste(d: &Daemon) -> Result<usize> {
    let mut n = std::fs::read_dir(d.root().join("trash"))?.count();
    for dir in ["containers", "volumes"] {
        let entries = std::fs::read_dir(d.root().join(dir))?.flatten();
        n += entries.filter(|e| e.file_name().to_string_lossy().starts_with("gone-")).count();
    }
    Ok(n)
}

fn the_sum_is_what_du_says(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let same = |what: &str| -> Result<u64> {
        let mut last = (0, 0);
        let waited = until("df to say what du says", || {
            let (status, _, body) = d.http("GET", "/system/df", "")?;
            let df: Value = serde_json::from_str(&body)?;
            ensure!(status == 200, "{body}");
            let out = Command::new("du").args(["-s", "-B1"]).arg(d.root()).output()?;
            let du = String::from_utf8_lossy(&out.stdout).split_whitespace().next().and_then(|n| n.parse().ok());
            last = (df["TotalSize"].as_u64().context("no TotalSize")?, du.context("du says nothing")?);
            // What is on its way out may go between the two looks.
            Ok((last.0 == last.1 && waste(&d)? == 0).then_some(()))
        });
        waited.with_context(|| format!("{what}: df says {}, du {}", last.0, last.1))?;
        Ok(last.0)
    };
    let first = same("busybox alone")?;
    let tar = tar(&d, "one", 5)?.display().to_string();
    d.ok(&["import", &tar, "one:1"])?;
    let with_one = same("import")?;
    ensure!(with_one >= first + (5 << 20), "{first} {with_one}");
    let script = "dd if=/dev/zero of=/f bs=1M count=3; ln /f /g; mkdir -p /deep/er; for i in $(seq 2000); do echo line $i; done; \
                  dd if=/dev/zero of=/v/f bs=1M count=2; truncate -s 20M /hole; mkfifo /pipe";
    d.ok(&["run", "--name", "writes", "-v", "named:/v", "busybox", "sh", "-c", script])?;
    d.ok(&[
        "run",
        "-d",
        "--name",
        "runs",
        "-v",
        "/anonymous",
        "busybox",
        "sh",
        "-c",
        "echo x > /anonymous/f; exec sleep 100000",
    ])?;
    same("containers, logs and volumes")?;
    d.ok(&["commit", "writes", "made:1"])?;
    same("commit")?;
    d.load("busybox")?;
    d.ok(&["tag", "one:1", "two:1"])?;
    same("load again")?;
    d.ok(&["rm", "-f", "writes"])?;
    d.ok(&["rm", "-f", "-v", "runs"])?;
    d.ok(&["rmi", "one:1", "two:1", "made:1"])?;
    same("removal")?;
    let (status, _, body) = d.http("POST", "/v1.44/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D", "")?;
    ensure!(status == 200 && body.contains("named"), "{body}");
    let last = same("volumes")?;
    ensure!(last < first + (1 << 20), "{} bytes are left of what was removed", last - first);
    Ok(())
}
