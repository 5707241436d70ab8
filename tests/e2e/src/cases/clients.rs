//! Other people's clients, unchanged: the docker command line and docker-py.

use crate::daemon::Daemon;
use crate::pty::Terminal;
use crate::runner::{World, skip};
use anyhow::{Result, ensure};
use std::process::{Command, Stdio};

super::cases!("clients": docker_command_line, docker_terminal, docker_py);

pub(super) fn docker(d: &Daemon, words: &[&str]) -> Result<Command> {
    let found = Command::new("docker").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !found {
        return skip("the docker command line is not installed");
    }
    let mut c = Command::new("docker");
    c.args(words).env("DOCKER_HOST", d.host()).env("DOCKER_CONFIG", d.dir.path()).stdin(Stdio::null());
    Ok(c)
}

/// Skips the case where Docker's client is older than 28: its words, orders and flags are others.
pub(super) fn needs_docker_28() -> Result<()> {
    let out = Command::new("docker").arg("--version").output().map(|o| o.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&out);
    let version = said.split("version ").nth(1).and_then(|v| v.split('.').next()).and_then(|v| v.parse::<u32>().ok());
    match version {
        Some(28..) => Ok(()),
        Some(old) => skip(format!("the docker command line is version {old}, and only from 28 on has these words")),
        None => skip("the docker command line is not installed"),
    }
}

/// What Docker's client prints, if it succeeds.
pub(super) fn docker_ok(d: &Daemon, words: &[&str]) -> Result<String> {
    let out = docker(d, words)?.output()?;
    ensure!(out.status.success(), "docker {words:?}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8(out.stdout)?)
}

/// The lines of a list without the ages in it: these grow between two clients.
pub(super) fn ageless(text: &str) -> Vec<String> {
    let words = ["second", "seconds", "minute", "minutes", "About", "Less", "than", "a", "ago", "Up", ""];
    let number = |w: &str| w.bytes().all(|b| b.is_ascii_digit());
    let lines = text.lines().map(|line| {
        let aged = line.contains(" ago") || line.contains("Up ");
        line.split(' ').filter(|w| !aged || !(words.contains(w) || number(w))).collect::<Vec<_>>().join(" ")
    });
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn docker_command_line(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let run = |words: &[&str]| -> Result<(i32, String, String)> {
        let out = docker(&d, words)?.output()?;
        Ok((
            out.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&out.stdout).into_owned(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        ))
    };
    let ok = |words: &[&str]| -> Result<String> {
        let (code, out, err) = run(words)?;
        ensure!(code == 0, "docker {words:?}: {code} {out} {err}");
        Ok(out.trim_end().to_owned())
    };
    ensure!(ok(&["version", "--format", "{{.Server.Version}}"])?.contains('.'));
    ok(&["info"])?;
    let (code, out, err) = run(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 5"])?;
    ensure!((code, out.as_str(), err.as_str()) == (5, "out\n", "err\n"), "{code} {out} {err}");
    let id = ok(&["run", "-d", "-p", "18181:80", "--name", "by-docker", "busybox", "sleep", "1000"])?;
    ensure!(ok(&["ps", "-q", "--no-trunc"])?.contains(&id));
    ensure!(ok(&["exec", "by-docker", "echo", "inside"])? == "inside");
    ensure!(ok(&["inspect", "-f", "{{.State.Status}}", "by-docker"])? == "running");
    ok(&["logs", "by-docker"])?;
    ok(&["stop", "-t", "0", "by-docker"])?;
    ensure!(ok(&["wait", "by-docker"])? == "137");
    ok(&["rm", "by-docker"])?;
    ensure!(ok(&["images", "--format", "{{.Repository}}"])?.contains("busybox"));
    ok(&["tag", "busybox", "by-docker:v1"])?;
    ok(&["rmi", "by-docker:v1"])?;
    let archive = d.archive("busybox").display().to_string();
    ensure!(ok(&["load", "-i", &archive])?.contains("busybox:latest"));
    let (code, _, err) = run(&["run", "--rm", "busybox", "nope"])?;
    ensure!(code == 127 && err.contains("executable file not found"), "{code} {err}");
    Ok(())
}

fn docker_terminal(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let mut t = Terminal::spawn(docker(&d, &["run", "--rm", "-it", "busybox", "sh"])?, 31, 99)?;
    t.expect("# ")?;
    t.send(b"while [ \"$(stty size)\" != '31 99' ]; do sleep 0.02; done; echo SIZE-$((1+1))\n")?;
    t.expect("SIZE-2")?;
    t.send(b"exit 4\n")?;
    let (code, seen) = t.wait()?;
    ensure!(code == 4, "{seen}");
    Ok(())
}

const PY: &str = r#"
import docker, io, sys
c = docker.from_env()
assert c.ping()
assert c.containers.run("busybox", ["echo", "hi"], remove=True) == b"hi\n"
try:
    c.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    sys.exit("no error")
except docker.errors.ContainerError as e:
    assert e.exit_status == 3 and b"bad" in e.stderr, e
k = c.containers.run("busybox", ["sleep", "1000"], detach=True, mem_limit="64m", environment={"A": "b"})
k.reload()
assert k.status == "running", k.status
r = k.exec_run(["sh", "-c", "echo $A; echo e >&2"], demux=True)
assert r.exit_code == 0 and r.output == (b"b\n", b"e\n"), r
s = k.exec_run("cat", stdin=True, socket=True).output
s._sock.sendall(b"typed\n")
assert b"typed" in s.read(14), "exec socket"
s.close()
assert k.id in [x.id for x in c.containers.list()]
k.stop(timeout=0)
assert k.wait()["StatusCode"] == 137
k.remove()
try:
    c.containers.get(k.id)
    sys.exit("still there")
except docker.errors.NotFound:
    pass
k = c.containers.run("busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; done"], detach=True)
assert b"".join(k.logs(stream=True, follow=True)) == b"1\n2\n3\n"
k.remove(force=True)
with open(sys.argv[1], "rb") as f:
    assert c.images.load(f)[0].tags == ["busybox:latest"]
i = c.images.get("busybox")
i.tag("by-py", "v1")
c.images.remove("by-py:v1")
try:
    c.images.get("nope")
    sys.exit("found")
except docker.errors.ImageNotFound:
    pass
assert c.version()["ApiVersion"] and c.info()["OSType"] == "linux"
print("all well")
"#;

/// Python with docker-py, set to a daemon.
pub(super) fn python(d: &Daemon) -> Result<Command> {
    let python = std::env::var("DHOW_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    if !Command::new(&python).args(["-c", "import docker"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success()) {
        return skip("docker-py is not installed for DHOW_TEST_PYTHON");
    }
    let mut command = Command::new(&python);
    command.env("DOCKER_HOST", d.host());
    Ok(command)
}

fn docker_py(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let out = python(&d)?.arg("-c").arg(PY).arg(d.archive("busybox")).output()?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).trim() == "all well", "{err}");
    Ok(())
}
