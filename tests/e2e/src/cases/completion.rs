//! Completion as a person meets it: a shell on a terminal, the script sourced, the tab key pressed. What was completed
//! is known from what the command then does.

use crate::daemon::Daemon;
use crate::pty::Terminal;
use crate::runner::{World, skip};
use anyhow::{Context as _, Result, ensure};
use std::io::{BufReader, Write as _};
use std::process::{Command, Stdio};

super::cases!("completion": bash, zsh, fish, without_a_daemon, names_of_a_hostile_daemon);

/// How a shell is started and told about dhow, and how it computes.
struct Shell {
    words: &'static [&'static str],
    source: &'static str,
    sum: &'static str,
}

fn bash(w: &World) -> Result<()> {
    let words = &["bash", "--noprofile", "--norc", "-i"];
    in_shell(w, &Shell { words, source: "source <(dhow completion bash)", sum: "$((40+2))" })
}

fn zsh(w: &World) -> Result<()> {
    let source = "autoload -Uz compinit; compinit -u -D; source <(dhow completion zsh)";
    in_shell(w, &Shell { words: &["zsh", "-f", "-i"], source, sum: "$((40+2))" })
}

fn fish(w: &World) -> Result<()> {
    let words = &["fish", "--no-config", "-i"];
    in_shell(w, &Shell { words, source: "dhow completion fish | source", sum: "(math 40+2)" })
}

fn in_shell(w: &World, shell: &Shell) -> Result<()> {
    let name = shell.words[0];
    let there = Command::new(name).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        return skip(format!("{name} is not installed"));
    }
    let d = w.own_daemon()?;
    d.ok(&["run", "-d", "--init", "--name", "lion-runs", "busybox", "sleep", "1000"])?;
    d.ok(&["create", "--name", "lion-ended", "busybox"])?;
    let mut t = Terminal::spawn(started(&d, shell)?, 50, 200)?;
    // Each line ends in a mark that is typed otherwise than it is shown.
    let mut line = |text: &str, mark: &str| -> Result<()> {
        t.send(format!("{text}; echo {mark}-{}\r", shell.sum).as_bytes())?;
        t.expect(&format!("{mark}-42")).with_context(|| text.to_owned())
    };
    line(shell.source, "sourced")?;
    // A command, and the only container that runs.
    line("dhow sto\tlion-\t", "stopped")?;
    ensure!(d.inspect("lion-runs")?["State"]["Running"] == false, "{name}: lion-runs was not completed");
    // A flag; an image, in whose name is a colon; a value behind `=`.
    line("dhow create --read-\t--network=hos\tbusybox:la\techo made > $HOME/id", "made")?;
    let id = std::fs::read_to_string(d.dir.path().join("home/id"))?;
    let made = d.inspect(id.trim())?;
    ensure!(made["HostConfig"]["ReadonlyRootfs"] == true, "{name}: {made}");
    ensure!(made["HostConfig"]["NetworkMode"] == "host", "{name}: {made}");
    ensure!(made["Config"]["Image"] == "busybox:latest", "{name}: {made}");
    // A file, where a flag takes one.
    std::fs::write(d.dir.path().join("home/lion-variables"), "LION=roars\n")?;
    line("dhow run --rm --env-file lion-\tbusybox env > $HOME/env", "ran")?;
    let env = std::fs::read_to_string(d.dir.path().join("home/env"))?;
    ensure!(env.contains("LION=roars"), "{name}: {env}");
    // Below a family, with a name that was ended.
    line("dhow container rm lion-e\t", "removed")?;
    d.cli(&["inspect", "lion-ended"])?.fails(1, &["No such object"])?;
    t.send(b"exit\r")?;
    t.wait()?;
    Ok(())
}

/// The shell in a home of its own, with dhow first on its path.
fn started(d: &Daemon, shell: &Shell) -> Result<Command> {
    let (home, bin) = (d.dir.path().join("home"), d.dir.path().join("bin"));
    std::fs::create_dir(&home)?;
    std::fs::create_dir(&bin)?;
    std::os::unix::fs::symlink(d.command(&[]).get_program(), bin.join("dhow"))?;
    let mut command = Command::new("setsid");
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .args(["--ctty", "--wait"])
        .args(shell.words)
        .current_dir(&home)
        .env("DHOW_HOST", d.host())
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("TERM", "xterm")
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", &home)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_DATA_HOME")
        .env_remove("ZDOTDIR")
        .env_remove("ENV");
    Ok(command)
}

/// Without a daemon commands and flags are completed, names are not, and nothing is said or started.
fn without_a_daemon(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let ask = |words: &[&str]| -> Result<String> {
        let mut command = d.command(&[&["__complete"], words].concat());
        let out = command.env("DHOW_HOST", "unix:///nonexistent/dhow.sock").output()?;
        ensure!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        Ok(String::from_utf8(out.stdout)?)
    };
    ensure!(ask(&["stop", ""])? == "words\n");
    ensure!(ask(&["sto"])? == "words\nstop\tAsk containers to end, then make them\n");
    ensure!(ask(&["run", "--env-fi"])?.contains("\n--env-file\t"));
    ensure!(ask(&["load", "-i", ""])? == "files\n");
    // A daemon that takes the call and says nothing is not waited for.
    let silent = d.dir.path().join("silent.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&silent)?;
    let host = format!("unix://{}", silent.display());
    let out = d.command(&["__complete", "-H", &host, "stop", ""]).output()?;
    ensure!(out.status.success() && out.stdout == b"words\n", "{out:?}");
    // The twin: the daemon of the case knows names.
    d.ok(&["create", "--name", "completes-me", "busybox"])?;
    ensure!(d.ok(&["__complete", "start", "completes-"])?.starts_with("words\ncompletes-me\t"));
    d.ok(&["rm", "completes-me"])?;
    d.cli(&["completion", "csh"])?.fails(1, &["bash, zsh and fish are known"])?;
    Ok(())
}

/// What a completed line runs is chosen by who presses the key, not by who names containers.
fn names_of_a_hostile_daemon(w: &World) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("d.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket)?;
    let named =
        |name: &str| serde_json::json!({ "Names": [format!("/{name}")], "Image": "a\u{1b}[2Jb\nc", "Status": "Up" });
    let names = ["good-1", "$(touch pwned)", "a;reboot", "`id`", "two words", "a\nb", "-rf", "clear\u{1b}[2J"];
    let list = serde_json::to_vec(&names.map(named))?;
    std::thread::spawn(move || -> Result<()> {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream?);
            while let Some((_, mut to)) = super::causes::request(&mut stream)? {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
                to.write_all(format!("{head}Content-Length: {}\r\n\r\n", list.len()).as_bytes())?;
                to.write_all(&list)?;
            }
        }
        Ok(())
    });
    let host = format!("unix://{}", socket.display());
    let out = Command::new(&w.setup.dhow).args(["__complete", "-H", &host, "rm", ""]).stdin(Stdio::null()).output()?;
    let said = String::from_utf8(out.stdout)?;
    ensure!(out.status.success() && said == "words\ngood-1\ta[2Jbc, Up\n", "{said:?}");
    Ok(())
}
