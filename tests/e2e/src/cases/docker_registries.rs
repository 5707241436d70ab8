//! Docker's clients against registries, through the daemon: login, push, pull, and what a registry says of an image.

use super::clients::{docker, docker_ok, python};
use crate::daemon::{Daemon, Ran, fed};
use crate::registry::{Auth, Kind, Registry, USER};
use crate::runner::World;
use anyhow::{Result, ensure};
use std::process::Stdio;

super::cases!("docker_registries": docker_command_line, docker_py);

fn ran(d: &Daemon, words: &[&str]) -> Result<Ran> {
    Daemon::finish(docker(d, words)?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn docker_command_line(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    for kind in [Kind::BASIC, Kind::TOKEN] {
        let r = Registry::start(&d, kind)?;
        let name = r.name("by/docker:1");
        d.ok(&["tag", "busybox", &name])?;
        let refused = ran(&d, &["push", &name])?;
        ensure!(refused.code == 1, "{refused:?}");
        let mut login = docker(&d, &["login", "-u", USER.0, "--password-stdin", &r.host()])?;
        login.stderr(Stdio::piped());
        let wrong = {
            let c = docker(&d, &["login", "-u", USER.0, "--password-stdin", &r.host()])?;
            fed(c, b"a-wrong-word")?
        };
        let words = wrong.err.to_lowercase();
        ensure!(wrong.code == 1 && words.contains("unauthorized") && !words.contains("a-wrong-word"), "{wrong:?}");
        let right = fed(login, USER.1.as_bytes())?;
        ensure!(right.code == 0 && right.out.contains("Login Succeeded"), "{right:?}");
        let pushed = docker_ok(&d, &["push", &name])?;
        let digest = r.digest("by/docker", "1")?;
        ensure!(pushed.contains(&format!("1: digest: {digest} size: ")), "{pushed}");
        d.ok(&["rmi", &name])?;
        let pulled = docker_ok(&d, &["pull", &name])?;
        ensure!(
            pulled.contains(&format!("Digest: {digest}")) && pulled.contains("Status: Downloaded newer image"),
            "{pulled}"
        );
        ensure!(docker_ok(&d, &["pull", "-q", &name])?.trim() == name);
        ensure!(docker_ok(&d, &["run", "--rm", "--pull", "always", "-q", &name, "echo", "hi"])?.trim() == "hi");
        d.ok(&["rmi", &name])?;
        ensure!(docker_ok(&d, &["run", "--rm", "-q", &name, "echo", "missing"])?.trim() == "missing");
        if kind.auth == Auth::Token {
            let none = ran(&d, &["pull", &r.name("by/docker:none")])?;
            ensure!(none.code == 1 && none.err.contains("manifest unknown"), "{none:?}");
        }
        docker_ok(&d, &["logout", &r.host()])?;
        d.ok(&["rmi", &name])?;
        ensure!(ran(&d, &["pull", &name])?.code == 1, "without a password nothing comes");
    }
    Ok(())
}

const PY: &str = r#"
import docker, sys
c = docker.from_env()
name, host, user, password = sys.argv[1:]
auth = {"username": user, "password": password}
c.images.get("busybox").tag(name, "1")
lines = list(c.images.push(name, tag="1", auth_config=auth, stream=True, decode=True))
assert not [l for l in lines if "error" in l], lines
aux = [l["aux"] for l in lines if "aux" in l]
assert aux and aux[0]["Digest"].startswith("sha256:") and aux[0]["Tag"] == "1", lines
c.images.remove(name + ":1")
i = c.images.pull(name, tag="1", auth_config=auth)
assert i.tags and name + ":1" in i.tags, i.tags
assert i.id == c.images.get("busybox").id
d = c.images.get_registry_data(name + ":1", auth_config=auth)
assert d.id == aux[0]["Digest"], d.id
assert c.login(user, password, registry=host)["Status"] == "Login Succeeded"
try:
    docker.from_env().login(user, "wrong", registry=host)
    sys.exit("a wrong password was taken")
except docker.errors.APIError as e:
    assert e.status_code in (401, 500), e
try:
    c.images.pull(name, tag="none", auth_config=auth)
    sys.exit("found")
except docker.errors.NotFound:
    pass
print("all well")
"#;

fn docker_py(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let r = Registry::start(&d, Kind::BASIC)?;
    let mut command = python(&d)?;
    command.env("DOCKER_CONFIG", d.dir.path()).arg("-c").arg(PY);
    let out = command.args([&r.name("by/py"), &r.host(), USER.0, USER.1]).output()?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).trim() == "all well", "{err}");
    Ok(())
}
