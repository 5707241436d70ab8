//! `events`: in Docker's order and words, live and again, over a daemon that is killed.

use super::clients::{docker_ok, python};
use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

super::cases!("events":
    the_life_of_a_container, what_is_done_to_one_that_runs, images_and_prunes, filters_choose, told_while_they_happen,
    a_signal_that_nobody_heeds_is_told, kept_over_a_killed_daemon, docker_and_docker_py_hear_the_same, what_is_refused,
);

fn now() -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(format!("{}.{:09}", now.as_secs(), now.subsec_nanos()))
}

/// What happened since `since`, each as kind and action.
fn since(d: &Daemon, since: &str, more: &[&str]) -> Result<Vec<String>> {
    let until = now()?;
    let words = ["events", "--since", since, "--until", &until, "--format", "{{.Type}} {{.Action}}"];
    Ok(d.ok(&[&words[..], more].concat())?.lines().map(str::to_owned).collect())
}

/// What PID 1 neither handles nor blocks; and the lawful twin, which handles it.
fn a_signal_that_nobody_heeds_is_told(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let attribute = |name: &str| format!("{{{{.Action}}}} {{{{index .Actor.Attributes \"{name}\"}}}}");
    let told = |from: &str, name: &str| -> Result<Vec<String>> {
        let (until, format) = (now()?, attribute("signal") + " {{index .Actor.Attributes \"unheeded\"}}");
        let container = format!("container={name}");
        let only = ["-f", &container, "-f", "event=kill", "-f", "event=die", "-f", "event=stop"];
        let words = ["events", "--since", from, "--until", &until, "--format", &format];
        Ok(d.ok(&[&words[..], &only].concat())?
            .lines()
            .map(|l| l.replace("<no value>", "-").trim().to_owned())
            .collect())
    };
    let from = now()?;
    d.ok(&["run", "-d", "--name", "deaf", "busybox", "sh", "-c", "echo up; while :; do sleep 1; done"])?;
    d.ok(&[
        "run",
        "-d",
        "--name",
        "hears",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done",
    ])?;
    for name in ["deaf", "hears"] {
        until("the program to be ready", || Ok((d.ok(&["logs", name])? == "up").then_some(())))?;
    }
    d.ok(&["kill", "-s", "TERM", "deaf"])?;
    d.ok(&["kill", "-s", "USR1", "deaf"])?;
    d.ok(&["stop", "deaf", "hears"])?;
    let plain =
        |lines: Vec<String>| -> Vec<String> { lines.iter().map(|l| l.replace('-', "").trim().to_owned()).collect() };
    let deaf = plain(told(&from, "deaf")?);
    ensure!(deaf == ["kill 15 true", "kill 10", "kill 15 true", "kill 9", "die", "stop  true"], "{deaf:?}");
    let hears = plain(told(&from, "hears")?);
    ensure!(hears == ["kill 15", "die", "stop"], "{hears:?}");
    // Somebody says how long to wait: the event says it all the same, the stop waited.
    let from = now()?;
    d.ok(&["start", "deaf"])?;
    d.ok(&["stop", "-t", "0", "deaf"])?;
    let deaf = plain(told(&from, "deaf")?);
    ensure!(deaf == ["kill 15 true", "kill 9", "die", "stop"], "{deaf:?}");
    Ok(())
}

fn the_life_of_a_container(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let from = now()?;
    let id =
        d.ok(&["run", "-d", "--rm", "--name", "life", "-v", "kept:/kept", "-l", "a=b", "busybox", "sleep", "1000"])?;
    let waits = d.command(&["wait", "life"]).stdout(Stdio::piped()).spawn()?;
    d.ok(&["kill", "life"])?;
    Daemon::finish(waits)?;
    until("it to be gone", || Ok((!d.ok(&["ps", "-aq"])?.contains(&id[..12])).then_some(())))?;
    let told = since(&d, &from, &[])?;
    let want = [
        "volume create",
        "container create",
        "network connect",
        "volume mount",
        "container start",
        "container kill",
        "network disconnect",
        "volume unmount",
        "container die",
        "container destroy",
    ];
    ensure!(told == want, "{told:?}");
    let until = now()?;
    let lines = d.ok(&["events", "--since", &from, "--until", &until, "-f", "event=die", "-f", "event=kill"])?;
    let lines: Vec<&str> = lines.lines().collect();
    let [kill, die] = lines[..] else { anyhow::bail!("{lines:?}") };
    ensure!(kill.ends_with(&format!("container kill {id} (a=b, image=busybox, name=life, signal=9)")), "{kill}");
    ensure!(die.contains(&format!("container die {id} (a=b, execDuration=")), "{die}");
    ensure!(die.ends_with(", exitCode=137, image=busybox, name=life)"), "{die}");
    let time = die.split(' ').next().unwrap_or_default();
    ensure!(time.len() >= 30 && time.as_bytes()[28].is_ascii_digit(), "nine decimals: {time}");
    Ok(())
}

fn what_is_done_to_one_that_runs(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "-d", "--name", "busy", "busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.01; done"])?;
    let from = now()?;
    d.ok(&["pause", "busy"])?;
    d.ok(&["unpause", "busy"])?;
    ensure!(d.cli(&["exec", "busy", "sh", "-c", "exit 3"])?.code == 3);
    d.ok(&["top", "busy"])?;
    d.ok(&["rename", "busy", "idle"])?;
    d.ok(&["restart", "idle"])?;
    d.ok(&["stop", "idle"])?;
    d.ok(&["rm", "idle"])?;
    let told = since(&d, &from, &["-f", "type=container"])?;
    let want = [
        "container pause",
        "container unpause",
        "container exec_create: sh -c exit 3",
        "container exec_start: sh -c exit 3",
        "container exec_die",
        "container top",
        "container rename",
        "container kill",
        "container die",
        "container stop",
        "container start",
        "container restart",
        "container kill",
        "container die",
        "container stop",
        "container destroy",
    ];
    ensure!(told == want, "{told:?}");
    let until = now()?;
    let of = |event: &str, template: &str| {
        d.ok(&["events", "--since", &from, "--until", &until, "-f", &format!("event={event}"), "--format", template])
    };
    ensure!(of("rename", "{{.Actor.Attributes.oldName}} {{.Actor.Attributes.name}}")? == "/busy idle");
    ensure!(of("exec_die", "{{.Actor.Attributes.exitCode}}")? == "3");
    Ok(())
}

fn images_and_prunes(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let from = now()?;
    d.ok(&["tag", "busybox", "other:1"])?;
    let id = d.ok(&["create", "--name", "made", "busybox"])?;
    d.ok(&["commit", "-m", "why", "made", "made:1"])?;
    d.ok(&["rmi", "made:1"])?;
    d.ok(&["rmi", "other:1"])?;
    d.ok(&["container", "prune", "-f"])?;
    let told = since(&d, &from, &[])?;
    let want = [
        "image tag",
        "container create",
        "image create",
        "container commit",
        "image untag",
        "image delete",
        "image untag",
        "container destroy",
        "container prune",
    ];
    ensure!(told == want, "{told:?}");
    let until = now()?;
    let words = ["events", "--since", &from, "--until", &until, "-f", "event=commit"];
    let line = d.ok(&[&words[..], &["--format", "{{.Actor.ID}} {{.Actor.Attributes.comment}}"]].concat())?;
    ensure!(line == format!("{id} why"), "{line}");
    Ok(())
}

fn filters_choose(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let from = now()?;
    let one = d.ok(&["create", "--name", "one", "-l", "tier=web", "busybox"])?;
    d.ok(&["create", "--name", "two", "busybox"])?;
    d.ok(&["tag", "busybox", "more:2"])?;
    let count = |more: &[&str]| Ok::<_, anyhow::Error>(since(&d, &from, more)?.len());
    for (filters, want) in [
        (&["-f", "container=one"][..], 1),
        (&["-f", &format!("container={}", &one[..12])], 1),
        (&["-f", "container=one", "-f", "container=two"], 2),
        (&["-f", "label=tier"], 1),
        (&["-f", "label=tier=db"], 0),
        (&["-f", "image=busybox"], 2),
        (&["-f", "type=image"], 1),
        (&["-f", "type=image", "-f", "event=create"], 0),
        (&["-f", "image=more:2"], 1),
        (&["-f", "scope=swarm"], 0),
    ] {
        let got = count(filters)?;
        ensure!(got == want, "{filters:?}: {got}, not {want}");
    }
    Ok(())
}

fn told_while_they_happen(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let mut listening = d
        .command(&["events", "-f", "type=container", "--format", "{{.Action}} {{.Actor.Attributes.name}}"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(listening.stdout.take().context("its output")?).lines();
    // It listens from some moment on: the first that is heard shows that it does.
    let heard = std::thread::spawn(move || {
        let mut all: Vec<String> = Vec::new();
        for line in lines.by_ref() {
            all.push(line?);
            if all.last().is_some_and(|l| l == "destroy last") {
                break;
            }
        }
        Ok::<_, anyhow::Error>(all)
    });
    let mut n = 0;
    while !heard.is_finished() {
        n += 1;
        ensure!(n < 1000, "nothing was heard");
        d.ok(&["run", "--rm", "--name", "last", "busybox", "true"])?;
    }
    let _ = listening.kill();
    listening.wait()?;
    let all = heard.join().map_err(|_| anyhow::anyhow!("a panic"))??;
    let tail: Vec<&str> = all.iter().rev().take(3).rev().map(String::as_str).collect();
    ensure!(tail == ["start last", "die last", "destroy last"], "{all:?}");
    Ok(())
}

fn kept_over_a_killed_daemon(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let from = now()?;
    d.ok(&["run", "-d", "--name", "lives", "busybox", "sleep", "1000"])?;
    d.kill()?;
    d.up()?;
    d.ok(&["rm", "-f", "lives"])?;
    let told = since(&d, &from, &["-f", "type=container"])?;
    let want = ["container create", "container start", "container kill", "container die", "container destroy"];
    ensure!(told == want, "{told:?}");
    // One that ended while no daemon was there: its end is told by the next one.
    d.ok(&["run", "-d", "--name", "ends", "busybox", "sleep", "1000"])?;
    let from = now()?;
    let pid: i32 = d.ok(&["inspect", "-f", "{{.State.Pid}}", "ends"])?.parse()?;
    // 0 would be this process and its neighbours.
    ensure!(pid > 1, "it does not run");
    d.kill()?;
    let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status()?;
    until("it to end", || Ok((!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())))?;
    d.up()?;
    let told = since(&d, &from, &["-f", "type=container"])?;
    ensure!(told == ["container die"], "{told:?}");
    Ok(())
}

fn docker_and_docker_py_hear_the_same(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let from = now()?;
    d.ok(&["run", "--rm", "--name", "heard", "-l", "k=v", "busybox", "true"])?;
    until("it to be gone", || Ok(since(&d, &from, &["-f", "event=destroy"])?.first().cloned()))?;
    let until = now()?;
    let words = ["events", "--since", &from, "--until", &until];
    let ours = d.ok(&words)?;
    let docker = docker_ok(&d, &words)?;
    ensure!(docker.trim_end() == ours, "docker:\n{docker}\ndhow:\n{ours}");
    let json = [&words[..], &["--format", "json", "-f", "event=die"]].concat();
    let (ours, docker): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(&d.ok(&json)?)?, serde_json::from_str(&docker_ok(&d, &json)?)?);
    ensure!(docker["Actor"] == ours["Actor"] && docker["timeNano"] == ours["timeNano"], "{docker} {ours}");
    let script = format!(
        "import docker\nc = docker.from_env()\n\
         for e in c.events(since={}, until={}, decode=True, filters={{'type': 'container'}}):\n    print(e['Action'], e['Actor']['Attributes']['name'], e['Actor']['Attributes']['image'])\n",
        from.split('.').next().unwrap_or_default(),
        until.split('.').next().unwrap_or_default().parse::<u64>()? + 1,
    );
    let out = python(&d)?.args(["-c", &script]).output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let heard = String::from_utf8(out.stdout)?;
    ensure!(heard.contains("start heard busybox") && heard.contains("die heard busybox"), "{heard}");
    Ok(())
}

fn what_is_refused(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let (status, _, text) = d.http("GET", "/events?since=20&until=10", "")?;
    ensure!(status == 400 && text.contains("cannot be after `until` time"), "{status} {text}");
    let (status, _, text) = d.http("GET", "/events?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "")?;
    ensure!(status == 400 && text.contains("invalid filter 'nope'"), "{status} {text}");
    let ran = d.cli(&["events", "--format", "{{.Action"])?;
    ensure!(ran.code == 64 && ran.err.contains("Error parsing format"), "{}", ran.err);
    Ok(())
}
