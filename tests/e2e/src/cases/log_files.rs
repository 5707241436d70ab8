//! Logs in Docker's files with what its options add: compressed older files, labels and variables beside lines. And what a
//! question to a long log costs, of either kind, in bytes that the daemon reads.

use super::clients::docker;
use super::log_segments::in_order;
use crate::daemon::{Daemon, PATIENCE, until, until_within};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::path::PathBuf;
use std::process::Command;

super::cases!("log_files": compressed_files_are_dockers, compressing_can_be_killed, details_stand_before_lines, a_question_reads_no_more_than_it_must);

const COMPRESSED: [&str; 8] = [
    "--log-driver",
    "json-file",
    "--log-opt",
    "compress=true",
    "--log-opt",
    "max-file=4",
    "--log-opt",
    "max-size=300k",
];

/// The names of the log's files behind that of the newest.
fn endings(d: &Daemon, id: &str) -> Result<Vec<String>> {
    let name = format!("{id}-json.log");
    let mut out = Vec::new();
    for entry in std::fs::read_dir(d.root().join("containers").join(id))? {
        let entry = entry?.file_name().to_string_lossy().into_owned();
        out.extend(entry.strip_prefix(&name).map(str::to_owned));
    }
    out.sort();
    Ok(out)
}

fn log_path(d: &Daemon, id: &str) -> Result<PathBuf> {
    Ok(d.inspect(id)?["LogPath"].as_str().context("no LogPath")?.into())
}

fn all_compressed(d: &Daemon, id: &str) -> Result<()> {
    until("all but the newest to be compressed", || {
        let found = endings(d, id)?;
        Ok(found.iter().map(String::as_str).eq(["", ".1.gz", ".2.gz", ".3.gz"]).then_some(()))
    })
}

fn compressed_files_are_dockers(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&[&["run", "-d"], &COMPRESSED[..], &["busybox", "seq", "60000"]].concat())?;
    d.ok(&["wait", &id])?;
    let kept = d.ok(&["logs", &id])?;
    let (first, last) = in_order(&kept)?;
    ensure!(last == 60_000 && first > 30_000, "{first} {last}");
    all_compressed(&d, &id)?;
    ensure!(d.ok(&["logs", &id])? == kept, "compressing changed what is read");
    // As others read them.
    let path = log_path(&d, &id)?;
    let gzip = Command::new("gzip").args(["-dc"]).arg(format!("{}.3.gz", path.display())).output()?;
    let text = String::from_utf8(gzip.stdout)?;
    ensure!(gzip.status.success() && text.starts_with("{\"log\":\""), "{:?}", text.lines().next());
    ensure!(text.contains(&format!("{{\"log\":\"{first}\\n\"")), "the oldest line is in the oldest file");
    let moment = d.ok(&["logs", "-t", "-n", "9000", &id])?;
    let moment = moment.split(' ').next().context("no time")?;
    for flags in [&[][..], &["-n", "9000"], &["--since", moment], &["--until", moment], &["-f", "-n", "9000"]] {
        let words = [&["logs"], flags, &[&id[..]]].concat();
        let (theirs, ours) = (docker(&d, &words)?.output()?, d.command(&words).output()?);
        ensure!(theirs.status.success() && theirs.stdout == ours.stdout && !ours.stdout.is_empty(), "{words:?}");
    }
    d.ok(&["rm", &id])?;
    // Docker's own conditions.
    let words = ["create", "--log-driver", "json-file", "--log-opt", "compress=true", "busybox", "true"];
    d.cli(&words)?.fails(1, &["compress cannot be true when max-file is less than 2 or max-size is not set"])?;
    Ok(())
}

/// The daemon dies again and again while files are turned over and compressed: the log has no gap and nothing twice.
fn compressing_can_be_killed(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let script = "n=0; while [ ! -e /run/stop ]; do seq $((n+1)) $((n+2000)); n=$((n+2000)); done; exec sleep 1000000";
    let words = [&["run", "-d"], &COMPRESSED[..], &["--tmpfs", "/run", "busybox", "sh", "-c", script]].concat();
    let id = d.ok(&words)?;
    let pid = d.inspect(&id)?["State"]["Pid"].as_i64().context("no pid")?;
    for _ in 0..5 {
        // In the middle of it, more often than not.
        until("a file to be compressed", || {
            Ok(endings(&d, &id)?.iter().any(|ending| ending == ".packing").then_some(()))
        })?;
        d.kill()?;
        d.up()?;
        in_order(&d.ok(&["logs", &id])?)?;
    }
    std::fs::write(format!("/proc/{pid}/root/run/stop"), "")?;
    all_compressed(&d, &id)?;
    let (first, last) = in_order(&d.ok(&["logs", &id])?)?;
    ensure!(last % 2000 == 0 && last > first, "{first} {last}");
    // What was compressed goes with the rest.
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn details_stand_before_lines(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let given = ["labels=team,none", "labels-regex=^com\\.", "env=A", "env-regex=^B", "tag={{.Name}}"];
    let mut words =
        vec!["run", "-d", "--name", "details", "-l", "team=<a b>", "-l", "com.example/x=1,2", "-l", "other=x"];
    words.extend(["-e", "A=é", "-e", "BB=x=y", "-e", "C=3"]);
    given.iter().for_each(|option| words.extend(["--log-opt", option]));
    let script = "echo one; echo two >&2; printf last";
    words.extend(["busybox", "sh", "-c", script]);
    d.ok(&words)?;
    d.ok(&["wait", "details"])?;
    let beside = "A=%C3%A9,BB=x%3Dy,com.example%2Fx=1%2C2,tag=details,team=%3Ca+b%3E";
    let r = d.cli(&["logs", "--details", "details"])?;
    ensure!(r.out == format!("{beside} one\n{beside} last") && r.err == format!("{beside} two\n"), "{r:?}");
    // Beside what is kept without them stands nothing: a space, as in Docker.
    d.ok(&["run", "-d", "--name", "plain", "busybox", "sh", "-c", script])?;
    d.ok(&["wait", "plain"])?;
    let r = d.cli(&["logs", "--details", "plain"])?;
    ensure!(r.out == " one\n last" && r.err == " two\n", "{r:?}");
    for name in ["details", "plain"] {
        for flags in [&["--details"][..], &["--details", "-t"], &["--details", "-n", "1"], &["--details", "-f"]] {
            let words = [&["logs"], flags, &[name]].concat();
            let (theirs, ours) = (docker(&d, &words)?.output()?, d.command(&words).output()?);
            ensure!(theirs.status.success() && ours.status.success(), "{words:?}");
            ensure!(theirs.stdout == ours.stdout && theirs.stderr == ours.stderr, "{words:?}");
        }
    }
    d.ok(&["rm", "details", "plain"])?;
    Ok(())
}

/// Bytes that the daemon has read from anything.
fn bytes_read(d: &Daemon) -> Result<u64> {
    let io = std::fs::read_to_string(format!("/proc/{}/io", d.pid()))?;
    let line = io.lines().find_map(|l| l.strip_prefix("rchar: ")).context("no rchar")?;
    Ok(line.parse()?)
}

fn a_question_reads_no_more_than_it_must(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    for (driver, lines) in [(&[][..], "3000000"), (&["--log-driver", "json-file"], "300000")] {
        let script = format!("seq {lines}; while [ ! -e /run/go ]; do sleep 0.02; done; echo marked; seq 5");
        let id = d.ok(&[&["run", "-d", "--tmpfs", "/run"], driver, &["busybox", "sh", "-c", &script]].concat())?;
        until_within(10 * PATIENCE, "the flood to be written", || {
            Ok((d.ok(&["logs", "-n", "1", &id])? == lines).then_some(()))
        })?;
        d.ok(&["exec", &id, "touch", "/run/go"])?;
        d.ok(&["wait", &id])?;
        let marked = d.ok(&["logs", "-t", "-n", "6", &id])?;
        let moment = marked.lines().next().and_then(|l| l.strip_suffix(" marked")).context("no mark")?.to_owned();
        let whole = bytes_read(&d)?;
        ensure!(d.ok(&["logs", &id])?.len() > 1_900_000);
        let whole = bytes_read(&d)? - whole;
        ensure!(whole > 18 << 20, "{whole} bytes are the whole log");
        // Packing reads, too.
        until("nothing to be read any more", || {
            let before = bytes_read(&d)?;
            let dir = d.root().join("containers").join(&id).join("log");
            let plain = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let plain = plain.filter(|e| e.path().extension().is_some_and(|e| e == "seg")).count();
            Ok((plain <= 1 && bytes_read(&d)? == before).then_some(()))
        })?;
        for (flags, lines) in [
            (&["--since", &moment[..]][..], 6),
            (&["-n", "6"], 6),
            (&["--since", &moment, "-n", "2000000"], 6),
            (&["-n", "0"], 0),
            (&["-f", "--since", &moment], 6),
            (&["--until", "2001-01-01"], 0),
        ] {
            let before = bytes_read(&d)?;
            let got = d.ok(&[&["logs"], flags, &[&id[..]]].concat())?;
            let read = bytes_read(&d)? - before;
            let count = got.lines().count();
            ensure!(count == lines, "{driver:?} {flags:?}: {count} lines");
            ensure!(read < 1536 << 10, "{driver:?} {flags:?}: {read} bytes were read of {whole}");
        }
        d.ok(&["rm", &id])?;
    }
    Ok(())
}
