//! Docker's flags: the list that dhow's table is held against, those that came last, and what is refused.

use super::clients::{docker, docker_ok, python};
use crate::daemon::until;
use crate::runner::{World, skip};
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeSet;
use std::process::Command;

super::cases!("flags": table_is_dockers, volumes_from, volumes_from_by_docker_py, taken_over_volumes_stay, api_socket,
    networks_of_ones_own, refused_with_a_reason, idle_flags, sizes);

/// The list from which every flag's state is taken: it must be what Docker's client says of itself.
const TABLE: &str = include_str!("../../../../crates/dhow/src/flags/docker.tsv");

fn table_is_dockers(_: &World) -> Result<()> {
    let version = Command::new("docker").arg("--version").output().map(|o| o.stdout).unwrap_or_default();
    if !String::from_utf8_lossy(&version).contains("version 28.2") {
        return skip("the table is of docker's command line 28.2, and that is not installed");
    }
    let commands: BTreeSet<&str> = TABLE.lines().filter_map(|line| line.split('\t').next()).collect();
    ensure!(commands.len() > 40, "{commands:?}");
    for command in commands {
        // It must not ask any daemon: what it lists is to hang on nothing.
        let out = Command::new("docker")
            .args(command.split(' '))
            .arg("--help")
            .env("DOCKER_HOST", "unix:///nonexistent")
            .env("DOCKER_CONFIG", "/nonexistent")
            .output()?;
        let help = String::from_utf8(out.stdout)?;
        let said: BTreeSet<(String, String)> = help.lines().filter_map(flag).collect();
        let rows = TABLE.lines().map(|line| line.split('\t').collect::<Vec<_>>()).filter(|row| row[0] == command);
        let table: BTreeSet<_> = rows.map(|row| (row[1].to_owned(), row[2].to_owned())).collect();
        ensure!(said == table, "docker {command}: {:?}", said.symmetric_difference(&table).collect::<Vec<_>>());
    }
    Ok(())
}

/// Letter and name of the flag that a line of a help text is about.
fn flag(line: &str) -> Option<(String, String)> {
    let (short, rest) = match line.trim_start().split_once(", --") {
        Some((short, rest)) if short.len() == 2 && short.starts_with('-') => (short[1..].to_owned(), rest),
        _ => (String::new(), line.trim_start().strip_prefix("--")?),
    };
    // Text that goes on begins far to the right.
    let indent = line.len() - line.trim_start().len();
    (indent <= 6).then(|| (short, rest.split(' ').next().unwrap_or_default().to_owned()))
}

fn volumes_from(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let host = d.dir.path().join("shared");
    std::fs::create_dir(&host)?;
    let bind = format!("{}:/bind", host.display());
    d.ok(&["create", "--name", "data", "-v", "/anonymous", "-v", "named:/named", "-v", &bind, "busybox"])?;
    let script = "echo one > /anonymous/f && echo two > /named/f && echo three > /bind/f";
    d.ok(&["run", "--rm", "--volumes-from", "data", "busybox", "sh", "-c", script])?;
    let read = "cat /anonymous/f /named/f /bind/f";
    ensure!(d.ok(&["run", "--rm", "--volumes-from", "data:ro", "busybox", "sh", "-c", read])? == "one\ntwo\nthree");
    for place in ["/anonymous", "/named", "/bind"] {
        let touch = format!("{place}/new");
        let ran = d.cli(&["run", "--rm", "--volumes-from", "data:ro,z", "busybox", "touch", &touch])?;
        ran.fails(1, &["Read-only file system"])?;
        d.ok(&["run", "--rm", "--volumes-from", "data", "busybox", "touch", &touch])?;
    }
    // A container's own mount wins; a container made from one made from another has all of it.
    d.ok(&["create", "--name", "second", "--volumes-from", "data", "-v", "/extra", "--tmpfs", "/named", "busybox"])?;
    let read = "cat /anonymous/f; ls /named; ls -d /extra";
    let third = d.ok(&["run", "--rm", "--volumes-from", "second", "busybox", "sh", "-c", read])?;
    ensure!(third == "one\n/extra" || third.starts_with("one\nls: /named"), "{third}");
    let second = d.inspect("second")?;
    ensure!(second["HostConfig"]["VolumesFrom"][0] == "data", "{second}");
    let mounts = second["Mounts"].as_array().context("no mounts")?;
    ensure!(
        mounts.iter().any(|m| m["Destination"] == "/bind" && m["Source"] == host.display().to_string()),
        "{second}"
    );
    // Docker's words for what is wrong.
    for (value, words) in [
        ("nope", "No such container: nope"),
        ("", "volumes-from specification cannot be an empty string"),
        ("data:what", "invalid mode: what"),
        ("data:nocopy", "invalid mode: nocopy"),
    ] {
        d.cli(&["run", "--volumes-from", value, "busybox"])?.fails(125, &[words])?;
        let out = docker(&d, &["create", "--volumes-from", value, "busybox"])?.output()?;
        ensure!(String::from_utf8_lossy(&out.stderr).contains(words), "docker {value:?}: {out:?}");
    }
    docker_ok(&d, &["run", "--rm", "--volumes-from", "data", "busybox", "test", "-e", "/bind/new"])?;
    Ok(())
}

const PY: &str = r#"
import docker
c = docker.from_env()
data = c.containers.create("busybox", volumes=["/vol"])
c.containers.run("busybox", ["sh", "-c", "echo kept > /vol/f"], volumes_from=[data.id], remove=True)
assert c.containers.run("busybox", ["cat", "/vol/f"], volumes_from=[data.name + ":ro"], remove=True) == b"kept\n"
try:
    c.containers.create("busybox", volumes_from=["nope"])
    raise SystemExit("made")
except docker.errors.APIError as e:
    assert e.status_code == 400 and "No such container: nope" in str(e), e
data.remove(v=True)
"#;

fn volumes_from_by_docker_py(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let out = python(&d)?.args(["-c", PY]).output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

/// `rm -v` takes anonymous volumes along, unless another container has taken them over; then the last one does.
fn taken_over_volumes_stay(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "--name", "first", "-v", "/data", "busybox", "sh", "-c", "echo here > /data/f"])?;
    d.ok(&["create", "--name", "second", "--volumes-from", "first", "busybox", "cat", "/data/f"])?;
    let volumes = || Ok::<_, anyhow::Error>(std::fs::read_dir(d.root().join("volumes"))?.count());
    d.ok(&["rm", "-v", "first"])?;
    ensure!(volumes()? == 1, "the volume went with its first container");
    ensure!(d.ok(&["start", "-a", "second"])? == "here");
    d.ok(&["rm", "-v", "second"])?;
    until("the volume to go with its last container", || Ok((volumes()? == 0).then_some(())))
}

fn api_socket(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let look = ["busybox", "test", "-S", "/var/run/docker.sock"];
    d.ok(&[&["run", "--rm", "--use-api-socket"], &look[..]].concat())?;
    d.cli(&[&["run", "--rm"], &look[..]].concat())?.fails(1, &[])?;
    // It is the daemon's own.
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::metadata(d.dir.path().join("dhow.sock"))?.ino().to_string();
    let stat = ["busybox", "stat", "-c", "%i", "/var/run/docker.sock"];
    ensure!(d.ok(&[&["run", "--rm", "--use-api-socket"], &stat[..]].concat())? == own);
    Ok(())
}

fn networks_of_ones_own(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let rows: &[(&[&str], &str)] = &[
        (&["--ip", "172.17.0.9"], "user specified IP address is supported on user defined networks only"),
        (&["--ip6", "fd00::9"], "user specified IP address is supported on user defined networks only"),
        (&["--network-alias", "a"], "network-scoped aliases are only supported for user-defined networks"),
        (&["--net-alias", "a"], "network-scoped aliases are only supported for user-defined networks"),
        (&["--network", "name=bridge,ip=172.17.0.9"], "IP address is supported on user defined networks only"),
        (&["--network", "bridge", "--network", "mine"], "cannot attach both user-defined and non-user-defined"),
    ];
    for (words, want) in rows {
        d.cli(&[&["run"], *words, &["busybox"]].concat())?.fails(125, &[want])?;
        let out = docker(&d, &[&["create"], *words, &["busybox"]].concat())?.output()?;
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        ensure!(!out.status.success(), "docker {words:?}: {out:?}");
        ensure!(said.contains(want), "docker {words:?}: {said}");
    }
    // Docker's client takes this for a missing image, and would fetch it.
    d.cli(&["run", "--network", "mine", "busybox"])?.fails(125, &["network mine not found"])?;
    d.ok(&["run", "--rm", "--network", "name=bridge,mac-address=02:42:ac:11:00:63", "busybox", "true"])?;
    d.ok(&["run", "--rm", "--net", "none", "busybox", "true"])?;
    Ok(())
}

fn refused_with_a_reason(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let rows: &[(&[&str], &str)] = &[
        (&["run", "--gpus", "all", "busybox"], "there are no device drivers"),
        (&["container", "run", "--cpu-count=2", "busybox"], "for Windows containers only"),
        (&["create", "--io-maxiops", "3", "busybox"], "for Windows containers only"),
        (&["run", "--isolation", "hyperv", "busybox"], "invalid isolation 'hyperv' on linux"),
        (&["run", "--disable-content-trust=false", "busybox"], "can't be verified"),
        (&["rm", "-l", "x"], "there are no links"),
        (&["start", "--checkpoint", "x", "y"], "there are no checkpoints"),
    ];
    for (words, want) in rows {
        d.cli(words)?.fails(125, &[want])?;
    }
    // The lawful twins.
    d.ok(&["run", "--rm", "--isolation", "default", "--disable-content-trust", "busybox", "true"])?;
    Ok(())
}

fn idle_flags(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let ran = d.cli(&["run", "--rm", "--kernel-memory", "64m", "busybox", "true"])?;
    let words = "Flag --kernel-memory has been deprecated, and no longer supported by the kernel\n";
    ensure!((ran.code, ran.err.as_str()) == (0, words), "{ran:?}");
    Ok(())
}

fn sizes(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "--name", "big", "busybox", "dd", "if=/dev/zero", "of=/f", "bs=1000", "count=50"])?;
    for words in [&["ps", "-as"][..], &["ps", "-a", "--format", "{{.Names}}: {{.Size}}"]] {
        let ours = d.ok(words)?;
        ensure!(ours.contains("50kB (virtual "), "{ours}");
        let theirs = docker_ok(&d, words)?;
        ensure!(super::clients::ageless(&ours) == super::clients::ageless(&theirs), "{ours}\n{theirs}");
    }
    ensure!(!d.ok(&["ps", "-a"])?.contains("SIZE"));
    Ok(())
}
