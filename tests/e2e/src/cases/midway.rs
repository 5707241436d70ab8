//! In the middle of a start or of an end: clients that want something else, and daemons that die.
//!
//! A start is held up by stopping the zygote, so what comes in between comes in between on any machine.

use super::clients::docker;
use crate::daemon::{Daemon, PATIENCE, until};
use crate::disk::Disk;
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

super::cases!("midway":
    a_stop_waits_for_a_start_that_nobody_asked_for, rm_f_takes_what_is_being_started, waits_hear_of_a_start_that_fails,
    a_daemon_that_dies_in_a_start, a_daemon_that_dies_before_a_start_is_recorded, a_start_that_is_recorded_later,
    an_end_is_told_once, a_removal_that_fails_is_told,
);

fn show(d: &Daemon, id: &str, format: &str) -> Result<String> {
    d.ok(&["inspect", "-f", format, id])
}

/// The zygote and its shims stand still: what is sent to them stays on its way.
struct HeldUp(Vec<Pid>);

impl HeldUp {
    fn all(d: &Daemon) -> Result<Self> {
        let daemon = d.pid() as i32;
        let held = Self(d.processes().into_iter().filter(|pid| *pid != daemon).filter_map(Pid::from_raw).collect());
        ensure!(!held.0.is_empty(), "there is no zygote");
        for pid in &held.0 {
            // A spare shim may have gone meanwhile.
            let _ = kill_process(*pid, Signal::STOP);
        }
        Ok(held)
    }
}

impl Drop for HeldUp {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

/// What a start has written so far: a file of the container, then its record.
struct Traces {
    hosts: PathBuf,
    journal: PathBuf,
    before: SystemTime,
}

impl Traces {
    /// Before the start. It makes the file anew.
    fn before(d: &Daemon, id: &str) -> Result<Self> {
        let journal = d.root().join("dhow.db-wal");
        let hosts = d.root().join("containers").join(id).join("hosts");
        let _ = std::fs::remove_file(&hosts);
        Ok(Self { hosts, before: journal.metadata()?.modified()?, journal })
    }
    fn begun(&self) -> bool {
        self.hosts.exists()
    }
    /// The shim has its orders, and the record says so.
    fn sent(&self) -> Result<()> {
        until("the start to be sent", || Ok(self.begun().then_some(())))?;
        until("the start to be recorded", || Ok((self.journal.metadata()?.modified()? != self.before).then_some(())))
    }
}

/// A wait that the daemon has registered.
struct Waiting(UnixStream);

impl Waiting {
    fn begin(d: &Daemon, id: &str, condition: &str) -> Result<Self> {
        let mut stream = UnixStream::connect(d.dir.path().join("dhow.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "POST /v1.44/containers/{id}/wait?condition={condition} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).context("the head of a wait")?;
            head.push(byte[0]);
        }
        ensure!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        Ok(Self(stream))
    }
    fn goes_on(&self) -> Result<bool> {
        self.0.set_nonblocking(true)?;
        let mut byte = [0];
        let read = (&self.0).read(&mut byte);
        self.0.set_nonblocking(false)?;
        Ok(read.is_err_and(|e| e.kind() == ErrorKind::WouldBlock))
    }
    fn answer(mut self) -> Result<Value> {
        let mut text = String::new();
        self.0.read_to_string(&mut text).context("the answer to a wait")?;
        let json = text.find('{').zip(text.rfind('}')).context("no document")?;
        serde_json::from_str(&text[json.0..=json.1]).with_context(|| text.clone())
    }
}

/// Kills the daemon after it has sent a start to a shim, which begins only then.
fn killed_in_a_start(d: &Daemon, id: &str) -> Result<()> {
    // So that there is a zygote, whatever the last daemon's became of.
    d.ok(&["run", "--rm", "busybox", "true"])?;
    let (traces, held) = (Traces::before(d, id)?, HeldUp::all(d)?);
    let start = spawn(d, &["start", id])?;
    traces.sent()?;
    d.kill()?;
    Daemon::finish(start)?;
    drop(held);
    Ok(())
}

fn spawn(d: &Daemon, words: &[&str]) -> Result<Child> {
    Ok(d.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// Whether a client sleeps in its connection to the daemon.
fn asks(client: &mut Child) -> Result<bool> {
    let proc = PathBuf::from(format!("/proc/{}", client.id()));
    let sleeps = std::fs::read_to_string(proc.join("stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S')));
    let sockets = std::fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
    let connected = sockets
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .any(|to| to.to_string_lossy().starts_with("socket:"));
    Ok((sleeps && connected) || client.try_wait()?.is_some())
}

fn a_stop_waits_for_a_start_that_nobody_asked_for(w: &World) -> Result<()> {
    /// Longer than a signal waits for its mark.
    const LONG: Duration = Duration::from_secs(6);
    let d = w.own_daemon()?;
    let gate = d.dir.path().join("stays");
    std::fs::create_dir(&gate)?;
    let script = "[ -e /g/stay ] && exec sleep 1000; exit 3";
    let bind = format!("{}:/g", gate.display());
    let id = d.ok(&["run", "-d", "--restart", "always", "-v", &bind, "busybox", "sh", "-c", script])?;
    // Held up in its wait, before the next start has begun.
    let (held, traces) = until("a wait for the next start", || {
        if show(&d, &id, "{{.State.Status}}")? != "restarting" {
            return Ok(None);
        }
        let traces = Traces::before(&d, &id)?;
        let held = HeldUp::all(&d)?;
        let waits = show(&d, &id, "{{.State.Status}}")? == "restarting" && !traces.begun();
        Ok(waits.then_some((held, traces)))
    })?;
    std::fs::write(gate.join("stay"), "")?;
    until("its start", || Ok(traces.begun().then_some(())))?;
    let (mut stop, asked) = (spawn(&d, &["stop", "-t", "0", &id])?, Instant::now());
    until("the stop to wait", || Ok((stop.try_wait()?.is_some() || asked.elapsed() > LONG).then_some(())))?;
    drop(held);
    Daemon::finish(stop)?.ok()?;
    let state = show(&d, &id, "{{.State.Status}} {{.State.Pid}}")?;
    ensure!(state == "exited 0", "who stopped it was told so: {state}");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn rm_f_takes_what_is_being_started(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "--rm", "busybox", "true"])?;
    for more in [&[][..], &["--rm"], &["--restart", "always"]] {
        let id = d.ok(&[&["create"], more, &["busybox", "sleep", "1000"]].concat())?;
        let (traces, held) = (Traces::before(&d, &id)?, HeldUp::all(&d)?);
        let start = spawn(&d, &["start", &id])?;
        traces.sent()?;
        let mut rm = spawn(&d, &["rm", "-f", &id])?;
        until("rm to have asked", || Ok(asks(&mut rm)?.then_some(())))?;
        drop(held);
        Daemon::finish(start)?;
        Daemon::finish(rm)?.ok().with_context(|| format!("{more:?}"))?;
        d.cli(&["inspect", &id])?.fails(1, &["No such object"])?;
    }
    Ok(())
}

fn waits_hear_of_a_start_that_fails(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "--rm", "busybox", "true"])?;
    for more in [&[][..], &["--restart", "always"]] {
        let id = d.ok(&[&["create"], more, &["busybox", "nope"]].concat())?;
        let (traces, held) = (Traces::before(&d, &id)?, HeldUp::all(&d)?);
        let start = spawn(&d, &["start", &id])?;
        traces.sent()?;
        // While it is being started nobody knows whether it will run.
        let over = Waiting::begin(&d, &id, "not-running")?;
        let next = Waiting::begin(&d, &id, "next-exit")?;
        ensure!(over.goes_on()?);
        drop(held);
        ensure!(Daemon::finish(start)?.code == 1);
        // Also who asks afterwards hears why.
        for over in [over, Waiting::begin(&d, &id, "not-running")?] {
            let over = over.answer()?;
            let why = over["Error"]["Message"].as_str().unwrap_or_default();
            ensure!(over["StatusCode"] == 127 && why.contains("\"nope\": executable file not found"), "{over}");
        }
        // Nothing has run, so nothing has ended. Its removal is no failure.
        ensure!(next.goes_on()?);
        ensure!(show(&d, &id, "{{.State.Status}} {{.RestartCount}}")? == "created 0");
        d.ok(&["rm", &id])?;
        let next = next.answer()?;
        ensure!(next["StatusCode"] == 127 && next["Error"].is_null(), "{next}");
    }
    // The lawful twin: an end has a code and no error.
    let id = d.ok(&["create", "busybox", "sh", "-c", "exit 3"])?;
    let next = Waiting::begin(&d, &id, "next-exit")?;
    d.ok(&["start", &id])?;
    let next = next.answer()?;
    ensure!(next["StatusCode"] == 3 && next["Error"].is_null(), "{next}");
    Ok(())
}

/// What was told of a container, from its making on.
fn told(d: &Daemon, id: &str) -> Result<Vec<String>> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let filter = format!("container={id}");
    let words = ["events", "--since", "0", "--until", &until, "-f", &filter, "--format", "{{.Action}}"];
    Ok(d.ok(&[&words[..], &["-f", "type=container"]].concat())?.lines().map(str::to_owned).collect())
}

/// It was sent to a shim, which goes on alone. The next daemon knows when it began, and tells that it did.
fn a_daemon_that_dies_in_a_start(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let gate = d.dir.path().join("alone");
    std::fs::create_dir(&gate)?;
    let bind = format!("{}:/g", gate.display());
    let script = "echo up >> /g/starts; while [ ! -e /g/go ]; do sleep 0.02; done; exit 17";
    let starts = || std::fs::read_to_string(gate.join("starts")).unwrap_or_default().lines().count();
    let id = d.ok(&["create", "-v", &bind, "busybox", "sh", "-c", script])?;
    let mut want = vec!["create"];
    for (run, ends) in [(1, true), (2, false), (3, true)] {
        let earlier = show(&d, &id, "{{.State.StartedAt}} {{.State.FinishedAt}}")?;
        killed_in_a_start(&d, &id)?;
        until("the container to begin", || Ok((starts() == run).then_some(())))?;
        let gone = || {
            std::fs::write(gate.join("go"), "")?;
            let files = (d.root().join("containers").join(&id).join("exit.json"), socket(&d, &id));
            until("the shim to end", || Ok((files.0.exists() && !files.1.exists()).then_some(())))?;
            Ok::<_, anyhow::Error>(std::fs::remove_file(gate.join("go"))?)
        };
        if ends {
            gone()?;
        }
        d.up()?;
        want.push("start");
        if ends {
            want.push("die");
        }
        let heard = told(&d, &id)?;
        ensure!(heard == want, "run {run}: {heard:?}");
        let state = show(&d, &id, "{{.State.Status}} {{.State.ExitCode}}")?;
        ensure!(state == if ends { "exited 17" } else { "running 0" }, "run {run}: {state}");
        let now = show(&d, &id, "{{.State.StartedAt}} {{.State.FinishedAt}}")?;
        let (began, finished) = now.split_once(' ').context("two times")?;
        let (before, _) = earlier.split_once(' ').context("two times")?;
        ensure!(began.starts_with("20") && began > before, "run {run}: {now}, before {earlier}");
        ensure!(!ends || finished > began, "run {run}: {now}");
        // Over another daemon nothing is told again.
        d.kill()?;
        d.up()?;
        ensure!(told(&d, &id)? == want, "run {run}: {:?}", told(&d, &id)?);
        if !ends {
            std::fs::write(gate.join("go"), "")?;
            until("its end", || Ok((show(&d, &id, "{{.State.Status}}")? == "exited").then_some(())))?;
            std::fs::remove_file(gate.join("go"))?;
            want.push("die");
        }
    }
    Ok(())
}

fn socket(d: &Daemon, id: &str) -> PathBuf {
    d.dir.path().join("state/shims").join(format!("{id}.sock"))
}

/// The files of the database, and what is in them.
fn database(d: &Daemon) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(d.root())? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dhow.db")) {
            out.push((path.clone(), std::fs::read(&path)?));
        }
    }
    ensure!(!out.is_empty(), "there is no database");
    Ok(out)
}

fn restore(d: &Daemon, before: &[(PathBuf, Vec<u8>)]) -> Result<()> {
    for (path, _) in database(d)? {
        std::fs::remove_file(path)?;
    }
    for (path, bytes) in before {
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

/// It was sent to a shim, and the record is still that of the run before.
fn a_daemon_that_dies_before_a_start_is_recorded(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    // Whether the last run was ended by somebody, and whether the next one has ended when a daemon comes.
    for (policy, by_hand, ends) in
        [("no", false, true), ("on-failure:9", true, true), ("no", true, false), ("on-failure:9", true, false)]
    {
        let again = policy != "no";
        let case = format!("{policy} {by_hand} {ends}");
        let gate = d.dir.path().join(case.replace(':', "-"));
        std::fs::create_dir(&gate)?;
        let bind = format!("{}:/g", gate.display());
        // Each run takes the gate away behind itself.
        let script = "echo up >> /g/starts; while ! rm /g/go 2>/dev/null; do sleep 0.02; done; exit 17";
        let starts = || std::fs::read_to_string(gate.join("starts")).unwrap_or_default().lines().count();
        let go = || std::fs::write(gate.join("go"), "");
        let id = d.ok(&["run", "-d", "--restart", policy, "-v", &bind, "busybox", "sh", "-c", script])?;
        until("the first run", || Ok((starts() == 1).then_some(())))?;
        if by_hand {
            d.ok(&["kill", &id])?;
        } else {
            go()?;
        }
        until("its end", || Ok((show(&d, &id, "{{.State.Status}}")? == "exited").then_some(())))?;
        until("its shim to go", || Ok((!socket(&d, &id).exists()).then_some(())))?;
        let times = show(&d, &id, "{{.State.StartedAt}} {{.State.FinishedAt}}")?;
        let mut want = told(&d, &id)?;
        d.kill()?;
        let before = database(&d)?;
        // The twin: nothing has run since.
        d.up()?;
        ensure!(show(&d, &id, "{{.State.StartedAt}} {{.State.FinishedAt}}")? == times, "{case}");
        ensure!(told(&d, &id)? == want, "{case}: {:?}", told(&d, &id)?);
        killed_in_a_start(&d, &id)?;
        until("the second run", || Ok((starts() == 2).then_some(())))?;
        restore(&d, &before)?;
        if ends {
            go()?;
            let files = (d.root().join("containers").join(&id).join("exit.json"), socket(&d, &id));
            until("the shim to end", || Ok((files.0.exists() && !files.1.exists()).then_some(())))?;
        }
        d.up()?;
        want.push("start".to_owned());
        if !ends {
            ensure!(show(&d, &id, "{{.State.Status}}")? == "running", "{case}");
            go()?;
        }
        want.push("die".to_owned());
        if again {
            // What was asked of the run before is over.
            until("another run", || Ok((starts() == 3).then_some(())))?;
            want.push("start".to_owned());
            until("it to be told", || Ok((told(&d, &id)?.len() == want.len()).then_some(())))?;
            ensure!(show(&d, &id, "{{.State.Status}} {{.RestartCount}}")? == "running 1", "{case}");
        } else {
            until("its end", || Ok((show(&d, &id, "{{.State.Status}}")? == "exited").then_some(())))?;
            ensure!(show(&d, &id, "{{.State.ExitCode}}")? == "17", "{case}");
            let now = show(&d, &id, "{{.State.StartedAt}} {{.State.FinishedAt}}")?;
            let old: Vec<_> = times.split(' ').collect();
            let new: Vec<_> = now.split(' ').collect();
            ensure!(new[0] > old[1] && new[1] > new[0], "{case}: {times}, then {now}");
        }
        let heard = told(&d, &id)?;
        ensure!(heard == want, "{case}: {heard:?}, not {want:?}");
        d.kill()?;
        d.up()?;
        let heard = told(&d, &id)?;
        ensure!(heard == want, "{case}, over another daemon: {heard:?}, not {want:?}");
        d.ok(&["rm", "-f", &id])?;
    }
    Ok(())
}

/// The database could not be written when the start was sent. It can be when the start has come off.
fn a_start_that_is_recorded_later(w: &World) -> Result<()> {
    let d = Daemon::start_on(&w.setup, "{}", |dir| Disk::ext4(&dir.join("root"), &dir.join("disk"), 40).map(Some))?;
    d.load("busybox")?;
    d.ok(&["run", "--rm", "busybox", "true"])?;
    let id = d.ok(&["create", "busybox", "sleep", "1000"])?;
    let journal = d.root().join("dhow.db-wal");
    let change = |how: &str| {
        let out = d.disk()?.command("chattr").arg(how).arg(&journal).output()?;
        ensure!(out.status.success(), "chattr {how}: {}", String::from_utf8_lossy(&out.stderr));
        Ok(())
    };
    let held = HeldUp::all(&d)?;
    change("+i")?;
    let start = spawn(&d, &["start", &id])?;
    let warned = until("a warning", || Ok(d.log().contains("its start could not be recorded").then_some(())));
    change("-i")?;
    warned?;
    drop(held);
    Daemon::finish(start)?.ok()?;
    // The record alone says that it ran.
    let pid = show(&d, &id, "{{.State.Pid}}")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let shim = status.lines().find_map(|l| l.strip_prefix("PPid:\t")).context("no parent")?;
    let shim = Pid::from_raw(shim.parse()?).context("no shim")?;
    d.kill()?;
    kill_process(shim, Signal::KILL)?;
    d.up()?;
    let state = show(&d, &id, "{{.State.Status}} {{.State.ExitCode}}")?;
    ensure!(state == "exited 137", "{state}");
    Ok(())
}

/// A daemon that told an end and died before it was recorded: what is there then is the record of a run that goes on.
fn an_end_is_told_once(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let gate = d.dir.path().join("once");
    std::fs::create_dir(&gate)?;
    let bind = format!("{}:/g", gate.display());
    let script = "while [ ! -e /g/go ]; do sleep 0.02; done; exit 17";
    let id = d.ok(&["run", "-d", "-v", &bind, "busybox", "sh", "-c", script])?;
    d.kill()?;
    let before = database(&d)?;
    d.up()?;
    std::fs::write(gate.join("go"), "")?;
    until("its end", || Ok((show(&d, &id, "{{.State.Status}}")? == "exited").then_some(())))?;
    let want = ["create", "start", "die"];
    ensure!(told(&d, &id)? == want);
    until("its shim to go", || Ok((!socket(&d, &id).exists()).then_some(())))?;
    d.kill()?;
    restore(&d, &before)?;
    d.up()?;
    ensure!(show(&d, &id, "{{.State.Status}} {{.State.ExitCode}}")? == "exited 17");
    let heard = told(&d, &id)?;
    ensure!(heard == want, "{heard:?}");
    // The next run is told as ever.
    d.ok(&["start", &id])?;
    until("its end", || Ok((show(&d, &id, "{{.State.Status}}")? == "exited").then_some(())))?;
    let heard = told(&d, &id)?;
    ensure!(heard == ["create", "start", "die", "start", "die"], "{heard:?}");
    Ok(())
}

fn a_removal_that_fails_is_told(w: &World) -> Result<()> {
    let d = Daemon::start_on(&w.setup, "{}", |dir| Disk::ext4(&dir.join("root"), &dir.join("disk"), 40).map(Some))?;
    d.load("busybox")?;
    let gate = d.dir.path().join("removal");
    std::fs::create_dir(&gate)?;
    let bind = format!("{}:/g", gate.display());
    let script = "while [ ! -e /g/go ]; do sleep 0.02; done; exit 4";
    let id = d.ok(&["run", "-d", "--rm", "-v", &bind, "busybox", "sh", "-c", script])?;
    let bad = d.ok(&["create", "--rm", "busybox", "nope"])?;
    // Clients that wait for a program, and for its container to be gone.
    let run =
        ["run", "--rm", "-v", &bind, "busybox", "sh", "-c", "touch /g/up; while [ ! -e /g/go ]; do sleep 0.02; done"];
    let clients = [d.command(&run), docker(&d, &run)?].map(|mut client| {
        let child = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        until("its program", || Ok(std::fs::remove_file(gate.join("up")).ok()))?;
        Ok::<_, anyhow::Error>(child)
    });
    let waits = ["not-running", "removed"].map(|condition| Waiting::begin(&d, &id, condition));
    let removed = Waiting::begin(&d, &bad, "removed")?;
    // What the kernel does when the disk itself has failed.
    let root = d.dir.path().join("root");
    let status = d.disk()?.command("mount").args(["-o", "remount,abort"]).arg(&root).status()?;
    ensure!(status.success(), "remount: {status}");
    std::fs::write(gate.join("go"), "")?;
    let why = "could not be removed after its end";
    for wait in waits {
        let answer = wait?.answer()?;
        let message = answer["Error"]["Message"].as_str().unwrap_or_default();
        ensure!(answer["StatusCode"] == 4 && message.contains(why) && message.contains("database"), "{answer}");
    }
    for client in clients {
        let ran = Daemon::finish(client?)?;
        ensure!(
            ran.code == 125 && ran.err.contains("Error waiting for container: ") && ran.err.contains(why),
            "{ran:?}"
        );
    }
    let state = show(&d, &id, "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}")?;
    ensure!(state.starts_with("exited 4 ") && state.contains(why), "{state}");
    // A start that fails is an end, too.
    ensure!(d.cli(&["start", &bad])?.code == 1);
    let answer = removed.answer()?;
    ensure!(answer["Error"]["Message"].as_str().is_some_and(|e| e.contains(why)), "{answer}");
    d.cli(&["rm", "-f", &id])?.fails(1, &["database"])?;
    Ok(())
}
