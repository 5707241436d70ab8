//! `logs`.

use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::io::Read;
use std::process::Stdio;

super::cases!("logs": streams_tail_and_timestamps, since_and_until, follow_until_the_end, rotation_keeps_the_newest, none_driver_refuses, long_lines_stay_whole);

fn streams_tail_and_timestamps(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sh", "-c", "seq 1 20; echo err >&2"])?;
    d.ok(&["wait", &id])?;
    let r = d.cli(&["logs", &id])?;
    ensure!(r.out.lines().count() == 20 && r.err == "err\n", "{r:?}");
    let last = d.cli(&["logs", "-n", "3", &id])?;
    ensure!(last.out == "19\n20\n" && last.err == "err\n", "{last:?}");
    ensure!(d.cli(&["logs", "-n", "0", &id])?.out.is_empty());
    let stamped = d.cli(&["logs", "-t", "-n", "1", &id])?;
    let stamp = stamped.err.split(' ').next().unwrap_or_default();
    ensure!(stamp.len() == 30 && stamp.ends_with('Z') && stamped.err.ends_with(" err\n"), "{stamped:?}");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn since_and_until(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sh", "-c", "echo a; sleep 1.1; echo b"])?;
    d.ok(&["wait", &id])?;
    let all = d.ok(&["logs", "-t", &id])?;
    let second = all.lines().nth(1).and_then(|l| l.split(' ').next()).context("two lines")?;
    ensure!(d.ok(&["logs", "--since", second, &id])? == "b");
    ensure!(
        d.ok(&["logs", "--until", second.get(..19).map(|s| s.to_owned() + "Z").as_deref().unwrap_or(second), &id])?
            .starts_with('a')
    );
    ensure!(d.ok(&["logs", "--since", "2999-01-01", &id])?.is_empty());
    d.cli(&["logs", "--since", "yesterday", &id])?.fails(1, &["failed to parse value as time or duration"])?;
    d.ok(&["rm", &id])?;
    Ok(())
}

fn follow_until_the_end(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&[
        "run",
        "-d",
        "busybox",
        "sh",
        "-c",
        "echo first; while [ ! -e /go ]; do sleep 0.02; done; echo second",
    ])?;
    let mut child = d.command(&["logs", "-f", &id]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut out = child.stdout.take().context("stdout")?;
    let mut seen = [0; 6];
    out.read_exact(&mut seen)?;
    ensure!(&seen == b"first\n");
    d.ok(&["exec", &id, "touch", "/go"])?;
    let mut rest = String::new();
    out.read_to_string(&mut rest)?;
    ensure!(rest == "second\n" && child.wait()?.success(), "{rest}");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn rotation_keeps_the_newest(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id =
        d.ok(&["run", "-d", "--log-opt", "max-size=20k", "--log-opt", "max-file=2", "busybox", "seq", "1", "50000"])?;
    d.ok(&["wait", &id])?;
    let log = d.ok(&["logs", &id])?;
    ensure!(log.ends_with("\n50000") && log.lines().count() < 8000, "{} lines", log.lines().count());
    let first: u32 = log.lines().next().context("a line")?.parse()?;
    ensure!(log.lines().count() as u32 == 50000 - first + 1, "lines are missing in between");
    d.ok(&["rm", &id])?;
    d.cli(&["run", "--rm", "--log-opt", "max-size=x", "busybox", "true"])?.fails(125, &["max-size"])?;
    d.cli(&["run", "--rm", "--log-driver", "splunk", "busybox", "true"])?.fails(125, &["splunk"])?;
    Ok(())
}

fn none_driver_refuses(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "--log-driver", "none", "busybox", "echo", "x"])?;
    d.ok(&["wait", &id])?;
    d.cli(&["logs", &id])?.fails(1, &["does not support reading"])?;
    d.ok(&["rm", &id])?;
    Ok(())
}

fn long_lines_stay_whole(w: &World) -> Result<()> {
    let d: std::sync::Arc<Daemon> = w.daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end"])?;
    d.ok(&["wait", &id])?;
    let log = until("the log", || Ok(Some(d.ok(&["logs", &id])?)))?;
    ensure!(log.len() == 100_000 + 4 && log.ends_with("\nend"), "{} bytes", log.len());
    d.ok(&["rm", &id])?;
    Ok(())
}
