//! Terminals: interactive use, detach keys, window size, attach.

use crate::daemon::until;
use crate::pty::Terminal;
use crate::runner::World;
use anyhow::{Result, ensure};

super::cases!("terminal": interactive_shell, detach_and_attach_again, window_size_follows, exec_terminal, signals_are_passed_on, tty_without_a_terminal, load_shows_how_far_it_is);

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
    ensure!(code == 0 && seen.contains("read escape sequence"), "{seen}");
    ensure!(d.ok(&["inspect", "-f", "{{.State.Running}}", "detached"])? == "true");
    d.ok(&["rm", "-f", "detached"])?;
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
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    until("the trap to be set", || Ok(d.cli(&["logs", "signalled"])?.out.contains("ready").then_some(())))?;
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let r = crate::daemon::Daemon::finish(child)?;
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
