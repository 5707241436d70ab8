//! Terminals: interactive use, detach keys, window size, attach.

use super::clients::{docker, needs_docker_28};
use crate::daemon::{Daemon, until};
use crate::pty::Terminal;
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::process::{Command, Stdio};

super::cases!("terminal": interactive_shell, detach_and_attach_again, attached_as_by_docker, a_terminal_gets_no_signals, window_size_follows, exec_terminal, signals_are_passed_on, tty_without_a_terminal, load_shows_how_far_it_is);

fn interactive_shell(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let mut t = Terminal::spawn(d.command(&["run", "--rm", "-it", "busybox", "sh"]), 33, 101)?;
    t.expect("# ")?;
    t.send(b"stty size; tty; echo $((6*7))\n")?;
    t.expect("33 101")?;
    t.expect("42")?;
    t.send(b"exit 9\n")?;
    let (code, seen) = t.wait()?;
    ensure!(code == 9, "{code} {seen}");
    Ok(())
}

fn load_shows_how_far_it_is(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let archive = d.archive("busybox").display().to_string();
    d.ok(&["rmi", "busybox"])?;
    let (code, seen) = Terminal::spawn(d.command(&["load", "-i", &archive]), 24, 120)?.wait()?;
    ensure!(code == 0, "{code} {seen}");
    ensure!(seen.contains(": Loading layer [====") && seen.contains("Loaded image: busybox:latest"), "{seen:?}");
    // Not for who asks for less, nor for a file.
    for (words, terminal) in [(&["load", "-q", "-i", &archive][..], true), (&["load", "-i", &archive], false)] {
        let seen = match terminal {
            true => Terminal::spawn(d.command(words), 24, 120)?.wait()?.1,
            false => d.ok(words)?,
        };
        ensure!(seen.trim_end() == "Loaded image: busybox:latest", "{seen:?}");
    }
    Ok(())
}

fn detach_and_attach_again(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let mut t = Terminal::spawn(d.command(&["run", "-it", "--name", "detached", "busybox", "sh"]), 24, 80)?;
    t.expect("# ")?;
    t.send(b"x=kept\n\x10\x11")?;
    let (code, _) = t.wait()?;
    ensure!(code == 0);
    ensure!(d.ok(&["inspect", "-f", "{{.State.Running}}", "detached"])? == "true");
    let mut t = Terminal::spawn(d.command(&["attach", "--detach-keys", "ctrl-x", "detached"]), 24, 80)?;
    t.send(b"echo $x-$x\n")?;
    t.expect("kept-kept")?;
    t.send(b"\x18")?;
    let (code, seen) = t.wait()?;
    ensure!(code == 1 && seen.ends_with("read escape sequence\r\n"), "{code} {seen:?}");
    ensure!(d.ok(&["inspect", "-f", "{{.State.Running}}", "detached"])? == "true");
    d.ok(&["rm", "-f", "detached"])?;
    Ok(())
}

type Make = fn(&Daemon, &[&str]) -> Result<Command>;

/// Both clients, for the same daemon.
const CLIENTS: [(&str, Make); 2] = [("dhow", |d, words| Ok(d.command(words))), ("docker", docker)];

fn attached_as_by_docker(w: &World) -> Result<()> {
    let d = w.daemon()?;
    needs_docker_28()?;
    for (who, client) in CLIENTS {
        // The screen is drawn anew for who comes later, also where the size is the same.
        let script = "trap 'echo drawn' WINCH; echo up; while :; do sleep 0.05; done";
        d.ok(&["create", "-it", "--name", "watched", "busybox", "sh", "-c", script])?;
        let mut t = Terminal::spawn(client(&d, &["start", "-ai", "watched"])?, 24, 80)?;
        t.expect("up")?;
        t.send(b"\x10\x11")?;
        let (code, seen) = t.wait()?;
        ensure!(code == 0 && !seen.contains("escape"), "{who}: detaching from `start -ai` is silent: {code} {seen:?}");
        let mut t = Terminal::spawn(client(&d, &["attach", "--detach-keys", "ctrl-x", "watched"])?, 24, 80)?;
        t.expect("drawn")?;
        t.send(b"\x18")?;
        let (code, seen) = t.wait()?;
        ensure!(code == 1 && seen.ends_with("read escape sequence\r\n"), "{who}: {code} {seen:?}");
        d.ok(&["rm", "-f", "watched"])?;
        // The program's own exit code, by both commands.
        d.ok(&["create", "-it", "--name", "told", "busybox", "sh", "-c", "echo up; read x; exit $x"])?;
        let mut started = Terminal::spawn(client(&d, &["start", "-ai", "told"])?, 24, 80)?;
        started.expect("up")?;
        let attached = Terminal::spawn(client(&d, &["attach", "told"])?, 24, 80)?;
        attached.send(b"7\n")?;
        let codes = (attached.wait()?.0, started.wait()?.0);
        ensure!(codes == (7, 7), "{who}: {codes:?}");
        d.ok(&["rm", "told"])?;
    }
    Ok(())
}

/// The same command with SIGHUP as it is by default: the tests may run where it is ignored (`nohup`), which is inherited.
fn heeding(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=HUP").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => env.env(name, value),
            None => env.env_remove(name),
        };
    }
    env
}

fn a_terminal_gets_no_signals(w: &World) -> Result<()> {
    let d = w.daemon()?;
    needs_docker_28()?;
    for (who, client) in CLIENTS {
        for tty in [true, false] {
            let script = "trap 'echo got; exit 11' HUP; echo up; while :; do sleep 0.05; done";
            let flags: &[&str] = if tty { &["-t"] } else { &[] };
            d.ok(&[&["create", "--name", "deaf"], flags, &["busybox", "sh", "-c", script]].concat())?;
            let mut child = heeding(&client(&d, &["start", "-a", "deaf"])?).stdout(Stdio::piped()).spawn()?;
            // Not before it was shown: then the client listens to signals, too.
            let mut shown = [0; 2];
            child.stdout.as_mut().context("no output")?.read_exact(&mut shown)?;
            let pid = Pid::from_raw(child.id() as i32).context("no pid")?;
            // Not TERM or INT: for these Docker's client ends with 0 or 128 and the signal, as it happens.
            kill_process(pid, Signal::HUP)?;
            let r = Daemon::finish(child)?;
            let running = d.ok(&["inspect", "-f", "{{.State.Running}}", "deaf"])? == "true";
            match tty {
                // It ends the client alone.
                true => ensure!(running && r.code != 0 && !r.out.contains("got"), "{who}: {running} {r:?}"),
                false => ensure!(!running && r.code == 11 && r.out.ends_with("got\n"), "{who}: {running} {r:?}"),
            }
            d.ok(&["rm", "-f", "deaf"])?;
        }
    }
    Ok(())
}

fn window_size_follows(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let mut t = Terminal::spawn(d.command(&["run", "--rm", "-it", "busybox", "sh"]), 24, 80)?;
    t.expect("# ")?;
    t.resize(50, 120)?;
    // the size arrives when it arrives: ask until it has
    t.send(b"while [ \"$(stty size)\" != '50 120' ]; do sleep 0.02; done; echo SIZE-$((1+1))\n")?;
    t.expect("SIZE-2")?;
    t.send(b"exit\n")?;
    ensure!(t.wait()?.0 == 0);
    Ok(())
}

fn exec_terminal(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    let mut t = Terminal::spawn(d.command(&["exec", "-it", &id, "sh"]), 20, 70)?;
    t.expect("# ")?;
    t.send(b"stty size\n")?;
    t.expect("20 70")?;
    t.send(b"exit 3\n")?;
    ensure!(t.wait()?.0 == 3);
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn signals_are_passed_on(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let script = "trap 'echo got; exit 11' INT; echo ready; while :; do sleep 0.05; done";
    let child = d
        .command(&["run", "--rm", "--name", "signalled", "busybox", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()?;
    until("the trap to be set", || Ok(d.cli(&["logs", "signalled"])?.out.contains("ready").then_some(())))?;
    let pid = Pid::from_raw(child.id() as i32).context("no pid")?;
    kill_process(pid, Signal::INT)?;
    let r = Daemon::finish(child)?;
    ensure!(r.code == 11 && r.out == "ready\ngot\n", "{r:?}");
    Ok(())
}

fn tty_without_a_terminal(w: &World) -> Result<()> {
    let d = w.daemon()?;
    d.cli(&["run", "--rm", "-it", "busybox", "true"])?.fails(125, &["not a TTY"])?;
    let r = d.cli(&["run", "--rm", "-t", "busybox", "sh", "-c", "tty; echo err >&2"])?;
    ensure!(r.code == 0 && r.out == "/dev/pts/0\r\nerr\r\n", "{r:?}");
    Ok(())
}
