//! `dhow doctor`: things are broken on purpose, in namespaces and directories of the test's own; the finding and its
//! command must be named, the command is run as it stands, and the finding must be gone.

use crate::daemon::{Daemon, Ran};
use crate::disk::Disk;
use crate::net::Netns;
use crate::runner::{World, skip};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

super::cases!("doctor":
    a_machine_that_is_well, nothing_is_changed, forwarding_that_somebody_switched_off, a_firewall_that_drops,
    a_disk_that_is_full, mounts_that_keep_things_from_working, a_socket_that_nobody_serves, a_daemon_that_is_stopped,
    a_daemon_with_few_files, a_capability_that_is_missing, docker_that_speaks_to_another_daemon, a_database_that_is_damaged,
    a_layer_that_is_damaged, a_user_without_rights, a_host_that_is_no_socket, a_configuration_with_a_fault, words_and_codes,
);

/// One look: the document.
struct Look(Value);

impl Look {
    fn of(command: Command) -> Result<Self> {
        Self::with(command, &[])
    }

    /// With more flags.
    fn with(mut command: Command, flags: &[&str]) -> Result<Self> {
        let out = command.args(["doctor", "--format", "json"]).args(flags).stdin(Stdio::null()).output()?;
        let text = String::from_utf8(out.stdout)?;
        let look: Value =
            serde_json::from_str(&text).with_context(|| format!("{text}{}", String::from_utf8_lossy(&out.stderr)))?;
        let errors = look["errors"].as_u64().context("no sum")?;
        ensure!(out.status.code() == Some(i32::from(errors > 0)), "{:?} with {errors} errors", out.status);
        Ok(Self(look))
    }

    fn find(&self, id: &str) -> Option<&Value> {
        self.0["findings"].as_array()?.iter().find(|f| f["id"] == id)
    }

    fn state(&self, id: &str) -> Result<&str> {
        self.find(id).and_then(|f| f["state"].as_str()).with_context(|| format!("no {id} in {:#}", self.0))
    }

    /// Demands that it is so.
    fn is(&self, id: &str, state: &str) -> Result<&Self> {
        ensure!(self.state(id)? == state, "want {state}: {:#}", self.find(id).unwrap_or(&Value::Null));
        Ok(self)
    }

    /// The command of this finding that begins so.
    fn mend(&self, id: &str, begins: &str) -> Result<String> {
        let f = self.find(id).with_context(|| format!("no {id} in {:#}", self.0))?;
        let all = f["mend"].as_array().context("nothing mends it")?;
        let command = all.iter().filter_map(|m| m["command"].as_str()).find(|c| c.starts_with(begins));
        Ok(command.with_context(|| format!("no {begins:?} in {f:#}"))?.to_owned())
    }
}

/// The words of a shell, with `dhow` being the program under test.
fn shell(dhow: &Path, line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-ec", &format!("dhow() {{ {} \"$@\"; }}; {line}", dhow.display())]).stdin(Stdio::null());
    command
}

fn run(mut command: Command) -> Result<String> {
    let out = command.output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    ensure!(out.status.success(), "{command:?}: {said}");
    Ok(said)
}

fn look(d: &Daemon) -> Result<Look> {
    d.net.within(|| Look::of(d.command(&[])))?
}

/// Where there is no daemon, and nothing of the caller's own.
fn surroundings(command: &mut Command, dir: &Path) {
    command.env("DHOW_HOST", format!("unix://{}", dir.join("none.sock").display())).env_remove("DOCKER_HOST");
    command.env("DOCKER_CONFIG", dir).env_remove("DOCKER_CONTEXT");
}

/// The program there.
fn alone(w: &World, dir: &Path) -> Command {
    let mut command = Command::new(&w.setup.dhow);
    surroundings(&mut command, dir);
    command
}

fn temp() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("dhow-e2e-").tempdir()?)
}

fn a_machine_that_is_well(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let look = look(&d)?;
    let findings = look.0["findings"].as_array().context("no findings")?;
    let mut groups: Vec<&str> = findings.iter().filter_map(|f| f["group"].as_str()).collect();
    groups.dedup();
    let want = ["kernel", "cgroups", "privileges", "disk", "store", "network", "daemon", "clients"];
    ensure!(groups == want, "{groups:?}");
    for id in ["kernel.overlay", "kernel.network", "kernel.namespaces", "kernel.calls"] {
        look.is(id, "ok")?;
    }
    for id in ["store.database", "store.damaged", "store.root", "daemon.answer", "daemon.version", "daemon.shims"] {
        look.is(id, "ok")?;
    }
    // Root and state are those of the daemon, without being named.
    let seen = |id: &str| look.find(id).and_then(|f| f["seen"].as_str()).unwrap_or_default();
    ensure!(seen("store.root").contains(&d.dir.path().display().to_string()), "{}", seen("store.root"));
    ensure!(seen("daemon.process").contains(&d.pid().to_string()), "{}", seen("daemon.process"));
    // A problem comes with its reason and with what mends it.
    for f in findings {
        let (state, mends) = (f["state"].as_str(), f["mend"].as_array().map_or(0, Vec::len));
        ensure!(matches!(state, Some("ok" | "note")) || (mends > 0 && f["why"].is_string()), "{f:#}");
    }
    Ok(())
}

/// The case needs a program that a bare machine may have in a smaller form, or not at all.
fn needs(program: &str, args: &[&str]) -> Result<()> {
    match Command::new(program).args(args).stdin(Stdio::null()).output() {
        Ok(out) if out.status.success() => Ok(()),
        _ => skip(format!("no {program} that understands {}", args.join(" "))),
    }
}

/// Everything below a directory, with times, as `find` lists it.
fn listing(dir: &Path) -> Result<String> {
    let mut command = Command::new("find");
    command.arg(dir).args(["-printf", "%p %m %U %T@ %C@\\n"]);
    run(command)
}

fn nothing_is_changed(w: &World) -> Result<()> {
    needs("find", &["/dev/null", "-printf", "%C@"])?;
    needs("nft", &["--version"])?;
    let d = w.own_daemon()?;
    d.ok(&["run", "--rm", "busybox", "true"])?;
    // What a start and an end leave is done with, and nothing else writes.
    d.end()?;
    let network = || -> Result<String> {
        // Prepared namespaces go when the daemon has ended, and their devices with them.
        let all = [
            d.net.run(&["nft", "list", "ruleset"])?,
            d.net.run(&[
                "sh",
                "-c",
                "ip -o link | cut -d: -f2 | grep -v veth; ip -o -4 addr | grep -o 'inet [^ ]*'",
            ])?,
            d.net.run(&["sh", "-c", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/dhow0/*"])?,
        ];
        Ok(all.concat())
    };
    let before = (listing(&d.root().join("layers"))?, network()?);
    let names = || -> Result<Vec<std::ffi::OsString>> {
        let mut names: Vec<_> = std::fs::read_dir(d.root())?.map(|e| Ok(e?.file_name())).collect::<Result<_>>()?;
        names.sort();
        Ok(names)
    };
    let root = names()?;
    let database = std::fs::read(d.root().join("dhow.db"))?;
    let root_text = d.root().display().to_string();
    let out = d.net.within(|| d.command(&["doctor", "--root", &root_text]).output())??;
    ensure!(!out.stdout.is_empty());
    let after = (listing(&d.root().join("layers"))?, network()?);
    ensure!(after == before, "{before:?}\n{after:?}");
    ensure!(names()? == root && std::fs::read(d.root().join("dhow.db"))? == database);
    d.up()
}

fn forwarding_that_somebody_switched_off(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    look(&d)?.is("network.forwarding", "ok")?;
    d.ok(&["run", "--rm", "busybox", "true"])?;
    look(&d)?.is("network.forwarding", "ok")?;
    d.net.run(&["sysctl", "-qw", "net.ipv4.ip_forward=0"])?;
    let broken = look(&d)?;
    let mend = broken.is("network.forwarding", "error")?.mend("network.forwarding", "sysctl -w")?;
    d.net.run(&["sh", "-ec", &mend])?;
    look(&d)?.is("network.forwarding", "ok")?;
    Ok(())
}

fn a_firewall_that_drops(w: &World) -> Result<()> {
    needs("nft", &["--version"])?;
    let d = w.own_daemon()?;
    d.ok(&["run", "--rm", "busybox", "true"])?;
    look(&d)?.is("network.firewall", "ok")?;
    let rules = "add table inet own; add chain inet own through { type filter hook forward priority 0; policy drop; }";
    d.net.run(&["nft", rules])?;
    let broken = look(&d)?;
    let mend = broken.is("network.firewall", "error")?.mend("network.firewall", "nft insert rule inet own through")?;
    d.net.run(&["sh", "-ec", &mend])?;
    look(&d)?.is("network.firewall", "ok")?;
    // A chain that lets all through is none that drops.
    d.net.run(&[
        "nft",
        "delete table inet own; add table inet own; add chain inet own through { type filter hook forward priority 0; }",
    ])?;
    look(&d)?.is("network.firewall", "ok")?;
    Ok(())
}

fn a_disk_that_is_full(w: &World) -> Result<()> {
    let d = Daemon::start_on(&w.setup, "{}", |dir| Disk::memory(&dir.join("root"), 80).map(Some))?;
    let disk = d.disk()?;
    let look = || {
        let mut command = disk.command(&w.setup.dhow);
        command.env("DHOW_HOST", d.host());
        Look::of(command)
    };
    look()?.is("disk.root-bytes", "ok")?;
    disk.fill()?;
    let full = look()?;
    full.is("disk.root-bytes", "error")?.mend("disk.root-bytes", "dhow system prune")?;
    // What can't be tried on a full disk is not held against the kernel.
    ensure!(full.state("kernel.overlay")? != "error", "{:#}", full.0);
    let mend = full.mend("disk.root-bytes", "mount -o remount,size=")?;
    let mut command = disk.command("sh");
    command.args(["-ec", &mend]);
    run(command)?;
    look()?.is("disk.root-bytes", "ok")?.is("kernel.overlay", "ok")?;
    Ok(())
}

fn mounts_that_keep_things_from_working(w: &World) -> Result<()> {
    let dir = temp()?;
    let place = dir.path().join("root");
    let disk = Disk::memory(&place, 8)?;
    let within = |line: &str| {
        let mut command = disk.command("sh");
        command.args(["-ec", line]);
        run(command)
    };
    let root = place.display().to_string();
    let look = || {
        let mut command = disk.command(&w.setup.dhow);
        surroundings(&mut command, dir.path());
        Look::with(command, &["--root", &root])
    };
    for (options, state) in [("noexec", "warning"), ("noexec,nodev", "warning"), ("nodev", "note"), ("ro", "error")] {
        within(&format!("mount -o remount,exec,dev,rw {0} && mount -o remount,{options} {0}", place.display()))?;
        let broken = look()?;
        let mend = broken.is("disk.root-mount", state)?.mend("disk.root-mount", "mount -o remount")?;
        within(&mend)?;
        look()?.is("disk.root-mount", "ok")?;
    }
    Ok(())
}

fn a_socket_that_nobody_serves(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.kill()?;
    let dead = look(&d)?;
    let mend = dead.is("daemon.answer", "error")?.mend("daemon.answer", "rm ")?;
    run(shell(&w.setup.dhow, &mend))?;
    let gone = look(&d)?;
    ensure!(
        gone.find("daemon.answer").is_some_and(|f| f["seen"].as_str().is_some_and(|s| s.ends_with("is not there")))
    );
    gone.mend("daemon.answer", "unset DHOW_HOST")?;
    d.up()?;
    look(&d)?.is("daemon.answer", "ok")?;
    // Something that is no socket.
    let file = d.dir.path().join("file");
    std::fs::write(&file, "mine")?;
    let mut command = d.command(&[]);
    command.env("DHOW_HOST", format!("unix://{}", file.display()));
    let odd = Look::of(command)?;
    let mend = odd.is("daemon.answer", "error")?.mend("daemon.answer", "mv ")?;
    run(shell(&w.setup.dhow, &mend))?;
    ensure!(std::fs::read_to_string(d.dir.path().join("file.old"))? == "mine");
    Ok(())
}

fn a_daemon_that_is_stopped(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "-d", "--name", "on", "busybox", "sleep", "1000"])?;
    let pid = rustix::process::Pid::from_raw(d.pid() as i32).context("no process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    let stopped = look(&d);
    let mend = stopped.as_ref().ok().and_then(|l| l.mend("daemon.answer", "kill -CONT").ok());
    // Whatever was found, the daemon goes on.
    run(shell(&w.setup.dhow, mend.as_deref().unwrap_or(&format!("kill -CONT {}", d.pid()))))?;
    let stopped = stopped?;
    stopped.is("daemon.answer", "error")?;
    ensure!(mend == Some(format!("kill -CONT {}", d.pid())), "{mend:?}");
    let well = look(&d)?;
    well.is("daemon.answer", "ok")?.is("daemon.shims", "ok")?;
    // The shim of a container is asked as well.
    let seen = well.find("daemon.shims").and_then(|f| f["seen"].as_str()).unwrap_or_default();
    ensure!(seen.starts_with("1 asked"), "{seen}");
    Ok(())
}

fn a_daemon_with_few_files(w: &World) -> Result<()> {
    needs("prlimit", &["--version"])?;
    let d = w.own_daemon()?;
    let pid = d.pid().to_string();
    run({
        let mut command = Command::new("prlimit");
        command.args(["--pid", &pid, "--nofile=128:"]);
        command
    })?;
    let few = look(&d)?;
    let mend = few.is("privileges.files", "error")?.mend("privileges.files", &format!("prlimit --pid {pid}"))?;
    run(shell(&w.setup.dhow, &mend))?;
    look(&d)?.is("privileges.files", "ok")?;
    Ok(())
}

fn a_capability_that_is_missing(w: &World) -> Result<()> {
    needs("setpriv", &["--version"])?;
    let dir = temp()?;
    let look = |drop: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", drop]).arg(&w.setup.dhow);
        surroundings(&mut command, dir.path());
        Look::of(command)
    };
    let missing = |look: &Look, name: &str| {
        look.find("privileges.capabilities").and_then(|f| f["seen"].as_str()).is_some_and(|s| s.contains(name))
    };
    let less = look("-net_raw")?;
    ensure!(missing(&less, "CAP_NET_RAW") && less.state("privileges.capabilities")? == "warning");
    let without = look("-sys_admin")?;
    ensure!(missing(&without, "CAP_SYS_ADMIN"), "{:#}", without.0);
    without.is("privileges.capabilities", "error")?;
    let all = look("+net_raw")?;
    ensure!(!missing(&all, "CAP_NET_RAW") && !missing(&all, "CAP_SYS_ADMIN"));
    Ok(())
}

fn docker_that_speaks_to_another_daemon(w: &World) -> Result<()> {
    let d = w.daemon()?;
    if Command::new("docker").arg("--version").output().is_err() {
        return skip("no docker client");
    }
    let dir = temp()?;
    let clean = |command: &mut Command| {
        command.env("DHOW_HOST", d.host()).env("DOCKER_CONFIG", dir.path()).env_remove("DOCKER_CONTEXT");
    };
    let mut command = d.command(&[]);
    clean(&mut command);
    command.env("DOCKER_HOST", "unix:///nowhere/else.sock");
    let broken = Look::of(command)?;
    let mend = broken.is("clients.reach", "warning")?.mend("clients.reach", "export DOCKER_HOST=")?;
    let mut mended = shell(&w.setup.dhow, &format!("{mend}; dhow \"$@\""));
    mended.arg("sh");
    clean(&mut mended);
    Look::of(mended)?.is("clients.reach", "ok")?;

    let context = |name: &str, host: &str| {
        let mut command = Command::new("docker");
        command.args(["context", "create", name, "--docker", &format!("host={host}")]);
        clean(&mut command);
        command.env_remove("DOCKER_HOST");
        run(command)
    };
    context("far", "unix:///nowhere/else.sock")?;
    let look = || {
        let mut command = d.command(&[]);
        clean(&mut command);
        command.env_remove("DOCKER_HOST");
        Look::of(command)
    };
    std::fs::write(dir.path().join("config.json"), r#"{"currentContext": "far"}"#)?;
    let broken = look()?;
    let mend = broken.is("clients.reach", "warning")?.mend("clients.reach", "docker context create")?;
    let mut command = shell(&w.setup.dhow, &mend);
    clean(&mut command);
    command.env_remove("DOCKER_HOST");
    run(command)?;
    look()?.is("clients.reach", "ok")?;
    std::fs::write(dir.path().join("config.json"), r#"{"currentContext": "lost"}"#)?;
    let lost = look()?;
    ensure!(lost.is("clients.reach", "warning")?.mend("clients.reach", "docker context use default").is_ok());
    Ok(())
}

fn a_database_that_is_damaged(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.end()?;
    let root = d.root();
    let root_text = root.display().to_string();
    let look = || Look::with(d.command(&[]), &["--root", &root_text]);
    look()?.is("store.database", "ok")?.is("store.damaged", "ok")?;
    std::fs::write(root.join("dhow.db"), "nothing that was there before\n".repeat(200))?;
    let broken = look()?;
    broken.is("store.database", "error")?.mend("store.database", "dhow system check --root")?;
    let mend = broken.mend("store.database", "dhow system check --repair")?;
    run(shell(&w.setup.dhow, &mend))?;
    look()?.is("store.database", "ok")?;
    std::fs::remove_file(root.join("dhow.db"))?;
    let gone = look()?;
    run(shell(
        &w.setup.dhow,
        &gone.is("store.database", "error")?.mend("store.database", "dhow system check --repair")?,
    ))?;
    look()?.is("store.database", "ok")?;
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755))?;
    let open = look()?;
    run(shell(&w.setup.dhow, &open.is("store.root", "warning")?.mend("store.root", "chmod 700")?))?;
    look()?.is("store.root", "ok")?;
    d.up()?;
    ensure!(d.ok(&["images", "-q"])?.lines().count() > 0);
    Ok(())
}

/// A file of a layer that has bytes.
fn a_file(dir: &Path) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() && entry.metadata()?.len() > 0 {
            return Ok(Some(entry.path()));
        }
        if kind.is_dir()
            && let Some(found) = a_file(&entry.path())?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn a_layer_that_is_damaged(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    look(&d)?.is("store.damaged", "ok")?;
    // That of busybox, which can be loaded again.
    for layer in std::fs::read_dir(d.root().join("layers"))? {
        let layer = layer?.path();
        if layer.join("bin/busybox").exists()
            && let Some(file) = a_file(&layer)?
        {
            std::fs::write(file, "something else")?;
        }
    }
    // A check finds it, and has nothing to mend it from.
    let checked = d.cli(&["system", "check", "--repair"])?;
    ensure!(checked.code == 1, "{checked:?}");
    let broken = look(&d)?;
    let mend = broken.is("store.damaged", "error")?.mend("store.damaged", "dhow system check --repair")?;
    // It names what is to be loaded, and loading that mends it.
    let mut command = shell(&w.setup.dhow, &mend);
    command.env("DHOW_HOST", d.host());
    let told = String::from_utf8(command.output()?.stdout)?;
    ensure!(told.contains("load"), "{told}");
    // The same is seen without the daemon.
    d.end()?;
    let root = d.root().display().to_string();
    let offline = Look::with(d.command(&[]), &["--root", &root])?;
    offline.is("store.damaged", "error")?;
    ensure!(offline.mend("store.damaged", "dhow system check --repair")?.ends_with(&format!("--root {root}")));
    d.up()?;
    d.load("busybox")?;
    look(&d)?.is("store.damaged", "ok")?;
    Ok(())
}

fn a_user_without_rights(w: &World) -> Result<()> {
    needs("setpriv", &["--version"])?;
    // The program must be where that user can run it.
    let place = temp()?;
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755))?;
    let dhow = place.path().join("dhow");
    run({
        let mut command = Command::new("cp");
        command.arg(&w.setup.dhow).arg(&dhow);
        command
    })?;
    let home = place.path().join("home");
    std::fs::create_dir(&home)?;
    let look = |host: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&dhow);
        command.env("DHOW_HOST", host).env_remove("DOCKER_HOST").env("DOCKER_CONFIG", &home);
        Look::of(command)
    };
    // A socket in a place that everybody may enter, and that its mode keeps to its group.
    let socket = place.path().join("api.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket)?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o660))?;
    let closed = look(&format!("unix://{}", socket.display()))?;
    closed.is("daemon.answer", "error")?;
    ensure!(closed.0["root"] == false, "{:#}", closed.0);
    closed.mend("daemon.answer", "sudo dhow")?;
    for id in ["kernel.overlay", "kernel.network", "kernel.namespaces", "network.firewall"] {
        closed.is(id, "note")?;
        let seen = closed.find(id).and_then(|f| f["seen"].as_str()).unwrap_or_default();
        ensure!(seen == "not seen without root", "{id}: {seen}");
    }
    drop(listener);
    // What is not seen is no error.
    let findings = closed.0["findings"].as_array().context("no findings")?;
    let errors: Vec<&str> =
        findings.iter().filter(|f| f["state"] == "error").filter_map(|f| f["id"].as_str()).collect();
    ensure!(errors == ["daemon.answer"], "{errors:?}");
    Ok(())
}

fn a_host_that_is_no_socket(w: &World) -> Result<()> {
    let dir = temp()?;
    let mut command = alone(w, dir.path());
    command.env("DHOW_HOST", "tcp://192.0.2.1:2375");
    let look = Look::of(command)?;
    look.is("daemon.answer", "error")?.mend("daemon.answer", "unset DHOW_HOST")?;
    look.is("clients.host", "error")?.mend("clients.host", "unset DHOW_HOST")?;
    let mut command = alone(w, dir.path());
    command.args(["-H", "ssh://far"]);
    Look::of(command)?.is("daemon.answer", "error")?;
    let mut command = alone(w, dir.path());
    command.env_remove("DHOW_HOST").args(["-c", "lost"]);
    let look = Look::of(command)?;
    look.is("daemon.answer", "error")?.mend("daemon.answer", "unset DOCKER_CONTEXT; dhow context use default")?;
    Ok(())
}

fn a_configuration_with_a_fault(w: &World) -> Result<()> {
    let dir = temp()?;
    let net = Netns::new()?;
    let file = dir.path().join("daemon.json");
    let look = |text: &str| -> Result<Look> {
        std::fs::write(&file, text)?;
        let command = alone(w, dir.path());
        net.within(|| Look::with(command, &["--config-file", &file.display().to_string()]))?
    };
    let broken = look(r#"{"rooot": "/x"}"#)?;
    ensure!(broken.is("daemon.config", "error")?.mend("daemon.config", "${EDITOR")?.ends_with("daemon.json"));
    ensure!(look("{}")?.find("daemon.config").is_none());
    // An address range that a route of the machine has.
    net.run(&["ip", "link", "add", "there", "type", "veth", "peer", "name", "other"])?;
    net.run(&["ip", "addr", "add", "10.9.0.1/16", "dev", "there"])?;
    net.run(&["ip", "link", "set", "there", "up", "mtu", "1400"])?;
    net.run(&["ip", "route", "add", "default", "via", "10.9.0.2"])?;
    let overlap = look(r#"{"bip": "10.9.8.1/24"}"#)?;
    overlap.is("network.addresses", "error")?.mend("network.addresses", "${EDITOR")?;
    look(r#"{"bip": "10.213.0.1/16"}"#)?.is("network.addresses", "ok")?.is("network.mtu", "warning")?;
    look(r#"{"mtu": 1400}"#)?.is("network.mtu", "ok")?;
    Ok(())
}

fn words_and_codes(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let said = |words: &[&str]| d.net.within(|| d.cli(words))?;
    let all: Ran = said(&["doctor"])?;
    ensure!(all.out.contains("GROUP") && all.out.lines().last().is_some_and(|l| l.ends_with(" ok")), "{}", all.out);
    ensure!(all.code <= 1 && all.err.is_empty(), "{all:?}");
    let twin = said(&["system", "doctor"])?;
    ensure!(twin.code == all.code && twin.out.contains("GROUP"));
    let quiet = said(&["doctor", "-q"])?;
    ensure!(!quiet.out.contains("GROUP") && quiet.code == all.code, "{quiet:?}");
    said(&["doctor", "--format", "yaml"])?.fails(1, &["only json"])?;
    said(&["doctor", "--root", "here"])?.fails(1, &["absolute"])?;
    said(&["doctor", "extra"])?.fails(1, &["accepts no arguments"])?;
    said(&["doctor", "--nope"])?.fails(125, &["unknown flag"])?;
    Ok(())
}
