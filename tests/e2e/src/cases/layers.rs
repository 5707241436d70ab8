//! What is in containers and images, and where it comes from: export, diff, history, image diff and image tree.

use super::clients::{docker, python};
use crate::daemon::{Daemon, until};
use crate::pty::Terminal;
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Child, Command, Stdio};

super::cases!("layers":
    export_is_what_the_container_sees, export_comes_back_by_import, export_of_directories, export_refuses_a_terminal,
    a_cut_export_is_an_error_and_no_file, an_export_of_a_removed_container_is_an_error, diff_as_docker_shows_it,
    diff_with_sizes, history_as_docker_shows_it, differences_of_images, the_tree_of_images,
    a_container_cannot_lead_the_walk_out, docker_reads_containers_and_images, docker_py_reads_containers_and_images,
);

/// A container that did all sorts of things to its files and still runs.
const DEEDS: &str = "cd /root && mkdir d && echo one > d/one && ln d/one d/two && ln -s /etc/passwd d/link \
    && mkfifo d/fifo && mknod d/dev c 1 3 && chmod 4711 d/one && rm /bin/ash && rm -r /tmp && mkdir -m 1777 /tmp \
    && echo x > /tmp/x && echo vol > /data/inside && echo ready && sleep 1000";

fn doer(d: &Daemon, name: &str) -> Result<()> {
    d.ok(&["run", "-d", "--name", name, "-v", "/data", "busybox", "sh", "-c", DEEDS])?;
    until("the container's deeds", || Ok(d.ok(&["logs", name])?.contains("ready").then_some(())))
}

/// The names in an archive, and its listing by GNU tar.
fn listing(archive: &std::path::Path) -> Result<(BTreeSet<String>, String)> {
    let tar = |flags: &str| -> Result<String> {
        let out = Command::new("tar").args([flags, &archive.display().to_string()]).output()?;
        ensure!(out.status.success(), "tar {flags}: {}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8(out.stdout)?)
    };
    let names = tar("-tf")?.lines().map(|l| l.trim_end_matches('/').to_owned()).collect();
    Ok((names, tar("-tvf")?))
}

fn export_is_what_the_container_sees(w: &World) -> Result<()> {
    let d = w.daemon()?;
    doer(&d, "exported")?;
    let file = d.dir.path().join("exported.tar");
    let path = file.display().to_string();
    let seen =
        d.ok(&["exec", "exported", "sh", "-c", "find / -xdev ! -path / | grep -v '^/dev/\\|^/sys/\\|^/proc/'"])?;
    let mut want: BTreeSet<String> = seen.lines().map(|l| l.trim_start_matches('/').to_owned()).collect();
    // `find` does not enter what is mounted, nor list what only a mount brought.
    want.extend(["dev", "proc", "sys", "data", "etc/hosts", "etc/hostname", "etc/resolv.conf"].map(str::to_owned));
    let mut first = Vec::new();
    for state in ["running", "stopped"] {
        d.ok(&["export", "-o", &path, "exported"])?;
        let (names, listing) = listing(&file)?;
        let without_devices: BTreeSet<String> = names.iter().filter(|n| !n.starts_with("dev/")).cloned().collect();
        let differ: Vec<_> = without_devices.symmetric_difference(&want).collect();
        ensure!(differ.is_empty(), "{state}: {differ:?}");
        // What Docker's export has beside the image's files, and no entry for the root, as there.
        for name in [".dockerenv", "etc/mtab", "dev/console", "dev/pts", "dev/shm"] {
            ensure!(names.contains(name), "{state}: no {name} in {names:?}");
        }
        ensure!(!names.contains(".") && !names.contains(""), "{state}: an entry for the root");
        for line in ["root/d/two link to root/d/one", "root/d/link -> /etc/passwd", "-rws--x--x"] {
            ensure!(listing.contains(line), "{state}: no {line:?} in\n{listing}");
        }
        ensure!(listing.lines().any(|l| l.starts_with('p') && l.ends_with("root/d/fifo")), "{listing}");
        ensure!(listing.lines().any(|l| l.starts_with('c') && l.contains("1,3")), "{listing}");
        ensure!(!names.contains("bin/ash") && !names.contains("data/inside"), "{state}");
        // To standard output, the same bytes.
        let out = d.command(&["container", "export", "exported"]).output()?;
        let bytes = std::fs::read(&file)?;
        ensure!(out.status.success() && out.stdout == bytes, "{state}: not the same");
        ensure!(first.is_empty() || first == bytes, "a container that did nothing is exported differently");
        first = bytes;
        d.cli(&["stop", "-t", "0", "exported"])?;
    }
    d.cli(&["export", "nothing"])?.fails(1, &["No such container: nothing"])?;
    d.cli(&["export", "-o", "/nowhere/at/all", "exported"])?.fails(1, &["/nowhere/at", "does not exist"])?;
    Ok(())
}

fn export_comes_back_by_import(w: &World) -> Result<()> {
    let d = w.daemon()?;
    d.ok(&[
        "run",
        "--name",
        "round",
        "busybox",
        "sh",
        "-c",
        "echo kept > /kept; ln /kept /again; chmod 1777 /opt || mkdir -m 1777 /opt",
    ])?;
    let file = d.dir.path().join("round.tar").display().to_string();
    d.ok(&["export", "-o", &file, "round"])?;
    d.ok(&["import", &file, "round:1"])?;
    let said = d.ok(&["run", "--rm", "round:1", "sh", "-c", "cat /again; stat -c %h /kept; stat -c %a /opt"])?;
    ensure!(said == "kept\n2\n1777", "{said}");
    d.ok(&["rmi", "round:1"])?;
    d.ok(&["rm", "round"])?;
    Ok(())
}

fn export_of_directories(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let root = d.dir.path().join("folder");
    crate::daemon::busybox_root(&root)?;
    let source = root.display().to_string();
    for (name, spec, through) in [("lies-over", format!("{source}:O"), false), ("is-it", source.clone(), true)] {
        let write = "echo new > /new; rm -f /old; echo done";
        std::fs::write(root.join("old"), "")?;
        d.ok(&["run", "--name", name, "--rootfs", &spec, "/bin/busybox", "sh", "-c", write])?;
        let file = d.dir.path().join("folder.tar");
        d.ok(&["export", "-o", &file.display().to_string(), name])?;
        let (names, _) = listing(&file)?;
        ensure!(names.contains("new") && names.contains("bin/busybox"), "{name}: {names:?}");
        let r = d.cli(&["diff", name])?;
        match through {
            true => drop(r.fails(1, &["nothing to compare"])?),
            false => ensure!(r.ok()?.contains("A /new")),
        }
        d.ok(&["rm", name])?;
    }
    Ok(())
}

fn export_refuses_a_terminal(w: &World) -> Result<()> {
    let d = w.daemon()?;
    d.ok(&["create", "--name", "no-terminal", "busybox"])?;
    let (code, seen) = Terminal::spawn(d.command(&["export", "no-terminal"]), 24, 80)?.wait()?;
    ensure!(code == 1 && seen.contains("cowardly refusing to save to a terminal"), "{code} {seen}");
    d.ok(&["rm", "no-terminal"])?;
    Ok(())
}

/// A container whose export is long: a hole costs no disk.
fn long(d: &Daemon, name: &str) -> Result<()> {
    d.ok(&["run", "--name", name, "busybox", "sh", "-c", "truncate -s 20G /root/hole"])?;
    Ok(())
}

fn written(child: &Child) -> Result<u64> {
    let io = crate::daemon::read(format!("/proc/{}/io", child.id()))?;
    let line = io.lines().find_map(|l| l.strip_prefix("wchar: ")).context("no wchar")?;
    Ok(line.trim().parse()?)
}

fn a_cut_export_is_an_error_and_no_file(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    long(&d, "cut")?;
    for to_file in [true, false] {
        let folder = d.dir.path().join("out");
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("cut.tar").display().to_string();
        let words: &[&str] = if to_file { &["export", "-o", &file, "cut"] } else { &["export", "cut"] };
        let mut child = d.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdout = child.stdout.take().context("no stdout")?;
        if to_file {
            until("the export to be under way", || Ok((written(&child)? > 8 << 20).then_some(())))?;
        } else {
            stdout.read_exact(&mut [0; 4096])?;
        }
        d.kill()?;
        let drained = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let ran = Daemon::finish(child)?;
        drained.join().ok().context("drain")??;
        ran.fails(1, &["broke the answer off"])?;
        ensure!(std::fs::read_dir(&folder)?.next().is_none(), "a piece of a file is left");
        d.up()?;
    }
    Ok(())
}

fn an_export_of_a_removed_container_is_an_error(w: &World) -> Result<()> {
    let d = w.daemon()?;
    // More than fits into what waits on the way, so that the export is not over when the container goes.
    d.ok(&["run", "--name", "goes", "busybox", "sh", "-c", "truncate -s 200M /root/hole"])?;
    let mut child = d.command(&["export", "goes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().context("no stdout")?;
    stdout.read_exact(&mut [0; 4096])?;
    d.ok(&["rm", "-f", "goes"])?;
    let drained = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    Daemon::finish(child)?.fails(1, &["broke the answer off"])?;
    drained.join().ok().context("drain")??;
    Ok(())
}

fn diff_as_docker_shows_it(w: &World) -> Result<()> {
    let d = w.daemon()?;
    d.ok(&["create", "--name", "same", "busybox", "true"])?;
    ensure!(d.ok(&["diff", "same"])?.is_empty());
    d.ok(&["start", "-a", "same"])?;
    ensure!(d.ok(&["diff", "same"])?.is_empty(), "a start alone changes nothing: {}", d.ok(&["diff", "same"])?);
    d.ok(&["rm", "same"])?;
    doer(&d, "differs")?;
    let want = "C /bin\nD /bin/ash\nA /data\nC /root\nA /root/d\nA /root/d/dev\nA /root/d/fifo\nA /root/d/link\n\
                A /root/d/one\nA /root/d/two\nC /tmp\nA /tmp/x\n";
    for _ in ["running", "stopped"] {
        let got = d.ok(&["container", "diff", "differs"])?;
        ensure!(got.clone() + "\n" == want, "{got}");
        d.cli(&["stop", "-t", "0", "differs"])?;
    }
    let (status, _, body) = d.http("GET", "/v1.44/containers/differs/changes", "")?;
    ensure!(status == 200 && body.contains(r#"{"Path":"/bin/ash","Kind":2}"#), "{body}");
    d.cli(&["diff", "nothing"])?.fails(1, &["No such container: nothing"])?;
    Ok(())
}

fn diff_with_sizes(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let script = "mkdir /gone && head -c 1000 /dev/zero > /gone/a && head -c 500 /dev/zero > /gone/b";
    d.ok(&["run", "--name", "before", "busybox", "sh", "-c", script])?;
    d.ok(&["commit", "before", "measured"])?;
    let script = "rm -r /gone; head -c 3000 /dev/zero > /new; echo more >> /etc/passwd";
    d.ok(&["run", "--name", "after", "measured", "sh", "-c", script])?;
    let got = d.ok(&["diff", "--stat", "after"])?;
    let lines: Vec<&str> = got.lines().collect();
    for want in ["D    -1.5kB /gone", "A      +3kB /new", "C       +5B /etc/passwd", "C           /etc"] {
        ensure!(lines.contains(&want), "no {want:?} in {got}");
    }
    ensure!(lines.last() == Some(&"1 added (+3kB), 2 changed (+5B), 1 deleted (-1.5kB): +1.5kB"), "{got}");
    let json = d.ok(&["diff", "--format", "json", "after"])?;
    let rows: Vec<Value> = json.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(rows.iter().any(|r| r["Path"] == "/gone" && r["OldSize"] == 1500 && r["Type"] == "D"), "{json}");
    ensure!(d.ok(&["diff", "--format", "{{.Type}}:{{.Path}}", "after"])?.contains("A:/new"));
    Ok(())
}

/// An image of three steps on busybox: `tower:1` … `tower:3`.
fn tower(d: &Daemon, name: &str) -> Result<()> {
    let mut below = "busybox".to_owned();
    for (step, script) in [
        (1, "mkdir /app; head -c 1000 /dev/zero > /app/lib; echo v1 > /app/version"),
        (2, "echo v2 > /app/version; rm /bin/ash; touch /etc/group; echo"),
        (3, "rm -r /app/lib; head -c 4000 /dev/urandom > /app/data"),
    ] {
        let container = format!("{name}-{step}");
        d.ok(&["run", "--name", &container, &below, "sh", "-c", script])?;
        below = format!("{name}:{step}");
        d.ok(&["commit", "-m", &format!("step {step}"), &container, &below])?;
        d.ok(&["rm", &container])?;
    }
    Ok(())
}

fn history_as_docker_shows_it(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    tower(&d, "tower")?;
    let table = d.ok(&["history", "tower:3"])?;
    ensure!(
        table.starts_with("IMAGE          CREATED") && table.contains("CREATED BY") && table.contains("COMMENT"),
        "{table}"
    );
    let id = d.inspect("tower:3")?["Id"].as_str().context("no id")?.to_owned();
    let rows: Vec<Value> = d
        .ok(&["history", "--no-trunc", "--format", "json", "tower:3"])?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(rows[0]["ID"] == id.as_str() && rows[0]["Comment"] == "step 3" && rows[0]["Size"] == "4kB", "{rows:?}");
    ensure!(rows[1]["ID"] == d.inspect("tower:2")?["Id"] && rows[2]["ID"] == d.inspect("tower:1")?["Id"], "{rows:?}");
    let quiet = d.ok(&["image", "history", "-q", "tower:3"])?;
    ensure!(quiet.lines().next() == Some(&id["sha256:".len()..][..12]), "{quiet}");
    ensure!(d.ok(&["history", "--human=false", "--format", "{{.Size}}", "tower:3"])?.starts_with("4000\n"));
    let (status, _, body) = d.http("GET", "/images/tower:3/history", "")?;
    ensure!(status == 200, "{body}");
    let items: Vec<Value> = serde_json::from_str(body.trim())?;
    ensure!(items[0]["Tags"][0] == "tower:3" && items[1]["Tags"][0] == "tower:2", "{body}");
    let sum: i64 = items.iter().filter_map(|i| i["Size"].as_i64()).sum();
    ensure!(d.inspect("tower:3")?["Size"].as_i64() == Some(sum), "the sizes of the steps are not the image's");
    // With its parents gone the steps are still there, without ids.
    d.ok(&["rmi", "tower:2", "tower:1"])?;
    let ids = d.ok(&["history", "-q", "tower:3"])?;
    ensure!(ids.lines().skip(1).take(2).all(|l| l == "<missing>"), "{ids}");
    d.cli(&["history", "nothing"])?.fails(1, &["No such image: nothing:latest"])?;
    Ok(())
}

fn differences_of_images(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    tower(&d, "tower")?;
    let text = d.ok(&["image", "diff", "tower:1", "tower:3"])?;
    let number =
        |step: usize| -> Result<usize> { Ok(d.ok(&["history", "-q", &format!("tower:{step}")])?.lines().count()) };
    let (two, three) = (format!("b{}", number(2)?), format!("b{}", number(3)?));
    for (kind, size, step, path) in [
        ("D", "-1kB", &three, "/app/lib"),
        ("A", "+4kB", &three, "/app/data"),
        ("C", "", &two, "/app/version"),
        ("D", "", &two, "/bin/ash"),
    ] {
        let line =
            text.lines().find(|l| l.ends_with(&format!(" {path}"))).with_context(|| format!("{path}: {text}"))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        // A hard link to busybox has busybox's size.
        let fits = words[0] == kind && words.contains(&step.as_str()) && (size.is_empty() || words[1] == size);
        ensure!(fits, "{line}: want {kind} {size} {step}");
    }
    ensure!(!text.lines().any(|l| l.ends_with(" /etc/group")), "touched, not changed: {text}");
    ensure!(text.contains("layers in common") && text.contains(&format!("\n{three}: sh")), "{text}");
    let json: Value = serde_json::from_str(&d.ok(&["image", "diff", "--format", "json", "tower:3", "tower:1"])?)?;
    let changes = json["Changes"].as_array().context("no changes")?;
    let of = |path: &str| changes.iter().find(|c| c["Path"] == path).with_context(|| format!("no {path}"));
    ensure!(of("/app/lib")?["Kind"] == 1 && of("/app/lib")?["StepOf"] == "a", "{json}");
    ensure!(
        json["Totals"]["Removed"]["OldSize"] == 4000 && json["Totals"]["Added"]["Paths"].as_u64() >= Some(2),
        "{json}"
    );
    ensure!(d.ok(&["image", "diff", "tower:2", "tower:2"])?.ends_with("0 added, 0 changed, 0 deleted: same size"));
    d.cli(&["image", "diff", "tower:1", "nothing"])?.fails(1, &["No such image: nothing:latest"])?;
    let (status, _, body) = d.http("GET", "/dhow/images/diff?a=tower:1", "")?;
    ensure!(status == 400 && body.contains("the parameter b is missing"), "{status} {body}");
    Ok(())
}

fn the_tree_of_images(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    tower(&d, "tower")?;
    let text = d.ok(&["image", "tree"])?;
    let lines: Vec<&str> = text.lines().collect();
    let at = |name: &str| lines.iter().position(|l| l.contains(name)).with_context(|| format!("no {name}: {text}"));
    ensure!(lines[0].starts_with("IMAGE") && lines[0].ends_with("LAST USED"), "{text}");
    ensure!(lines[at("busybox:latest")? + 1].starts_with("└─ tower:1"), "{text}");
    ensure!(lines[at("tower:2")?].starts_with("   └─ ") && lines[at("tower:3")?].starts_with("      └─ "), "{text}");
    ensure!(lines[at("tower:3")?].contains("never") && lines[at("busybox")?].contains(" ago"), "{text}");
    let rows: Vec<Value> =
        d.ok(&["image", "tree", "--format", "json"])?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let one = |tag: &str| rows.iter().find(|r| r["Tags"][0] == tag).with_context(|| format!("no {tag}"));
    let three = one("tower:3")?;
    ensure!(three["Base"] == one("tower:2")?["Id"] && three["OwnSize"] == 4000, "{three}");
    let size = d.inspect("tower:3")?["Size"].as_u64();
    ensure!(three["OwnSize"].as_u64().zip(three["SharedSize"].as_u64()).map(|(a, b)| a + b) == size, "{three}");
    Ok(())
}

/// A container changes a directory into a link to the machine's files and back while it is walked through.
fn a_container_cannot_lead_the_walk_out(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let outside = d.dir.path().join("outside-of-all-layers");
    std::fs::create_dir_all(outside.join("sub"))?;
    std::fs::write(outside.join("canary-name"), "canary-content")?;
    std::fs::write(outside.join("sub/canary-name"), "canary-content")?;
    let target = outside.display();
    let script = format!(
        "cd /root && mkdir -p real/sub && echo lawful-content > real/lawful-name && echo lawful-content > real/sub/lawful-name \
         && ln -s {target} link && mv real swap && touch started && \
         while true; do mv swap real; mv link swap; mv swap link; mv real swap; done"
    );
    d.ok(&["run", "-d", "--name", "racer", "busybox", "sh", "-c", &script])?;
    until("the race", || Ok((d.cli(&["exec", "racer", "test", "-e", "/root/started"])?.code == 0).then_some(())))?;
    let mut lawful = 0;
    for round in 0..25 {
        let out = d.command(&["export", "racer"]).output()?;
        ensure!(out.status.success(), "round {round}: {}", String::from_utf8_lossy(&out.stderr));
        let has = |text: &str| out.stdout.windows(text.len()).any(|w| w == text.as_bytes());
        ensure!(!has("canary-name") && !has("canary-content"), "round {round}: the machine's files were read");
        lawful += usize::from(has("lawful-content"));
        let changes = d.ok(&["diff", "--stat", "racer"])?;
        ensure!(!changes.contains("canary-name"), "round {round}: {changes}");
    }
    ensure!(lawful > 0, "the container's own files never came");
    d.ok(&["rm", "-f", "racer"])?;
    // The lawful twin: nothing races, and everything is there.
    d.ok(&["run", "--name", "twin", "busybox", "sh", "-c", &script.replace("while true", "while false")])?;
    let out = d.command(&["export", "twin"]).output()?;
    let has = |text: &str| out.stdout.windows(text.len()).any(|w| w == text.as_bytes());
    ensure!(out.status.success() && has("root/swap/sub/lawful-name") && !has("canary-name"));
    d.ok(&["rm", "twin"])?;
    Ok(())
}

fn docker_reads_containers_and_images(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let ok = |words: &[&str]| -> Result<String> {
        let out = docker(&d, words)?.output()?;
        ensure!(out.status.success(), "docker {words:?}: {}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8(out.stdout)?)
    };
    d.ok(&["run", "--name", "read-by-docker", "busybox", "sh", "-c", "echo x > /new; rm /bin/ash"])?;
    ensure!(ok(&["diff", "read-by-docker"])? == d.ok(&["diff", "read-by-docker"])? + "\n");
    let file = d.dir.path().join("by-docker.tar");
    ok(&["export", "-o", &file.display().to_string(), "read-by-docker"])?;
    ensure!(listing(&file)?.0.contains("new"));
    let (theirs, ours) = (ok(&["history", "busybox"])?, d.ok(&["history", "busybox"])?);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    ensure!(words(&theirs) == words(&ours), "docker:\n{theirs}\ndhow:\n{ours}");
    ensure!(ok(&["history", "-q", "busybox"])?.trim_end() == d.ok(&["history", "-q", "busybox"])?);
    d.ok(&["rm", "read-by-docker"])?;
    Ok(())
}

const PY: &str = r#"
import docker, io, tarfile
c = docker.from_env()
k = c.containers.create("busybox", ["sh", "-c", "echo x > /new; rm /bin/ash"])
k.start()
k.wait()
changes = k.diff()
assert {"Path": "/new", "Kind": 1} in changes and {"Path": "/bin/ash", "Kind": 2} in changes, changes
names = tarfile.open(fileobj=io.BytesIO(b"".join(k.export()))).getnames()
assert "new" in names and "bin/ash" not in names and "bin/sh" in names
k.remove()
h = c.images.get("busybox").history()
assert h[0]["Tags"] == ["busybox:latest"] and sum(i["Size"] for i in h) == c.images.get("busybox").attrs["Size"], h
print("all well")
"#;

fn docker_py_reads_containers_and_images(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let out = python(&d)?.arg("-c").arg(PY).output()?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).trim() == "all well", "{err}");
    Ok(())
}
