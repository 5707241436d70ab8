//! What really hangs: processes that wait in the kernel for a file system whose server is silent, so that not even SIGKILL
//! ends them, and mounts that nobody answers for. Nothing of dhow hangs with them, and all is told by name.

use super::clients::{docker, needs_docker_28};
use crate::daemon::{Daemon, Ran, until};
use crate::disk::Disk;
use crate::fuse::{Answers, FILE, Fuse, SOURCE};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::process::{Child, Command, Stdio};

super::cases!("stuck": a_process_in_the_kernel, by_a_kill_and_dockers_client, a_silent_mount, a_mount_that_somebody_uses);

/// In MiB: busybox and what is written beside it.
const DISK: u32 = 64;

/// A daemon in a mount namespace of its own, and a FUSE in it.
fn with_fuse(w: &World) -> Result<(Daemon, Fuse)> {
    let d = Daemon::start_on(&w.setup, "{}", |dir| Disk::memory(&dir.join("root"), DISK).map(Some))?;
    d.load("busybox")?;
    let fuse = Fuse::mount(d.disk()?, &d.dir.path().join("remote"))?;
    Ok((d, fuse))
}

/// A container whose program reads what nobody gives.
fn reader(d: &Daemon, fuse: &Fuse, name: &str, script: &str) -> Result<String> {
    let volume = format!("{}:/remote", fuse.point.display());
    let before = fuse.silent();
    let id = d.ok(&["run", "-d", "--name", name, "-v", &volume, "busybox", "sh", "-c", script])?;
    until("the program to ask the server", || Ok((fuse.silent() > before).then_some(())))?;
    Ok(id)
}

fn state(pid: &str) -> Result<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("State:\t")).context("no state")?;
    Ok(line[..1].to_owned())
}

/// The process of a container with this program, as this machine numbers it.
fn process(d: &Daemon, name: &str, program: &str) -> Result<String> {
    let list = d.ok(&["top", name, "-o", "pid,comm"])?;
    let row = list.lines().map(|l| l.split_whitespace().collect::<Vec<_>>()).find(|w| w.get(1) == Some(&program));
    Ok(row.with_context(|| format!("no {program} in {list}"))?[0].to_owned())
}

/// Runs a command to its end, which must come.
fn ends(mut command: Command) -> Result<Ran> {
    struct Killed(Option<Child>);
    impl Drop for Killed {
        fn drop(&mut self) {
            if let Some(child) = &mut self.0 {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
    let what = format!("{command:?}");
    let mut child = Killed(Some(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?));
    until(&format!("the end of {what}"), || Ok(child.0.as_mut().context("gone")?.try_wait()?.map(drop)))?;
    Daemon::finish(child.0.take().context("gone")?)
}

/// The daemon does its work meanwhile.
fn works(d: &Daemon) -> Result<()> {
    let ran = ends(d.command(&["run", "--rm", "busybox", "echo", "works"]))?;
    ensure!(ran.code == 0 && ran.out == "works\n", "{ran:?}");
    ends(d.command(&["ps", "-a", "--size"]))?.ok()?;
    ends(d.command(&["inspect", "-f", "{{.State.Status}}", "stuck"]))?.ok()?;
    Ok(())
}

fn gone(d: &Daemon, id: &str) -> Result<()> {
    until("the container to go", || Ok(d.ok(&["ps", "-aq"])?.is_empty().then_some(())))?;
    ensure!(!d.root().join("containers").join(id).exists());
    Ok(())
}

fn a_process_in_the_kernel(w: &World) -> Result<()> {
    let (d, fuse) = with_fuse(w)?;
    // The program is a child of the first process, which hears the signal and waits for it.
    let id = reader(&d, &fuse, "stuck", "trap 'exit 3' TERM; cat /remote/file & wait; wait")?;
    let pid = process(&d, "stuck", "cat")?;
    let who = format!("process {pid} (cat) waits in the kernel (request_wait_answer)");
    let what = format!("for /remote/{FILE} on /remote (fuse from {SOURCE})");
    let parts = ["can't be killed", &who, &what, "end the program that serves it", "/abort"];
    let said = ends(d.command(&["stop", "stuck"]))?.fails(1, &parts)?;
    ensure!(state(&pid)? == "D", "it is not in an uninterruptible sleep: {}", state(&pid)?);
    works(&d)?;
    let parts = [&parts[..], &["cannot remove container \"/stuck\": could not kill", "as soon as it ends"]].concat();
    ends(d.command(&["rm", "-f", "stuck"]))?.fails(1, &parts)?;
    ensure!(state(&pid)? == "D", "{}", state(&pid)?);
    ensure!(d.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}}"])? == "stuck dead");
    // Over another daemon too.
    d.kill()?;
    d.up()?;
    ensure!(d.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}}"])? == "stuck dead");
    works(&d)?;
    ensure!(state(&pid)? == "D", "{}", state(&pid)?);
    // The advice is done as it was said.
    let advice = said.split('`').find(|part| part.ends_with("/abort")).context("no advice")?;
    let connections = d.dir.path().join("connections");
    std::fs::create_dir(&connections)?;
    let advice = advice.replace("/sys/fs/fuse/connections", "\"$0\"");
    let done = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec"])
        .arg(format!("mount -t fusectl fusectl \"$0\"\n{advice}"))
        .arg(&connections)
        .output()?;
    ensure!(done.status.success(), "{advice}: {}", String::from_utf8_lossy(&done.stderr));
    gone(&d, &id)
}

fn by_a_kill_and_dockers_client(w: &World) -> Result<()> {
    needs_docker_28()?;
    let (d, fuse) = with_fuse(w)?;
    // The first process itself.
    let id = reader(&d, &fuse, "stuck", "exec cat /remote/file")?;
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", "stuck"])?;
    let who = format!("process {pid} (cat) waits in the kernel (request_wait_answer) for /remote/{FILE} on /remote");
    let kill = || ends(docker(&d, &["kill", "stuck"])?);
    let (killed, told) = std::thread::scope(|s| {
        let killed = s.spawn(kill);
        let told = d.http("POST", "/containers/stuck/kill", "");
        (killed.join(), told)
    });
    let ran = killed.ok().context("a panic")??;
    let parts = ["cannot kill container: stuck: ", &who];
    ensure!(ran.code == 1 && parts.iter().all(|p| ran.err.contains(p)), "docker kill: {ran:?}");
    let (status, _, body) = told?;
    ensure!(status == 500 && body.contains(r#""cause":"stuck""#), "{status} {body}");
    ensure!(state(&pid)? == "D", "{}", state(&pid)?);
    let ran = ends(docker(&d, &["rm", "-f", "stuck"])?)?;
    let parts = ["cannot remove container \"/stuck\": could not kill: ", &who];
    ensure!(ran.code == 1 && parts.iter().all(|p| ran.err.contains(p)), "docker rm -f: {ran:?}");
    ensure!(state(&pid)? == "D", "{}", state(&pid)?);
    // Its server goes, and so does all that waited.
    fuse.end()?;
    gone(&d, &id)
}

fn a_silent_mount(w: &World) -> Result<()> {
    let (d, fuse) = with_fuse(w)?;
    let volume = format!("{}:/remote", fuse.point.display());
    let used = ["run", "-d", "--name", "user", "-v", &volume, "busybox", "sleep", "1000"];
    d.ok(&used)?;
    d.ok(&["create", "--name", "stuck", "-v", &volume, "busybox", "true"])?;
    fuse.answer(Answers::Nothing);
    // What it does not have to be asked for: the end of who uses it.
    ends(d.command(&["stop", "user"]))?.ok()?;
    ends(d.command(&["rm", "user"]))?.ok()?;
    // What it has to be asked for: a source that must be there, one that may be made, and a container of before.
    let file = format!("{}/{FILE}", fuse.point.display());
    let named =
        format!("does not answer on {} (fuse from {SOURCE}): end the program that serves it", fuse.point.display());
    let before = fuse.silent();
    for (words, code) in [
        (&["create", "--mount", &format!("type=bind,src={file},dst=/x"), "busybox"][..], 1),
        (&["run", "--rm", "-v", &format!("{file}:/x"), "busybox", "true"], 125),
        (&["start", "stuck"], 1),
    ] {
        ends(d.command(words))?.fails(code, &[&named])?;
        works(&d)?;
    }
    ensure!(fuse.silent() > before, "it was not asked");
    others_are_not_held_up(&d, &fuse, &named)?;
    let (status, _, body) = d.http("POST", "/containers/stuck/start", "")?;
    ensure!(status == 503 && body.contains(r#""cause":"mount-stuck""#), "{status} {body}");
    // Another daemon comes, though those who asked are still there.
    d.kill()?;
    d.up()?;
    works(&d)?;
    let names = ["ps", "-a", "--format", "{{.Names}}"];
    ensure!(d.ok(&names)? == "stuck", "{}", d.ok(&names)?);
    ends(d.command(&["rm", "stuck"]))?.ok()?;
    fuse.end()?;
    // The twin: it answers.
    drop(fuse);
    let fuse = Fuse::mount(d.disk()?, &d.dir.path().join("answers"))?;
    fuse.answer(Answers::AllButReads);
    let file = format!("{}/{FILE}", fuse.point.display());
    let ran =
        ends(d.command(&["run", "--rm", "--mount", &format!("type=bind,src={file},dst=/x"), "busybox", "ls", "/x"]))?;
    ensure!(ran.code == 0 && ran.out == "/x\n", "{ran:?}");
    Ok(())
}

/// However often it is asked, by one who waits there for all, other places are as ever; also by a link, and one that leads
/// there is known for it.
fn others_are_not_held_up(d: &Daemon, fuse: &Fuse, named: &str) -> Result<()> {
    let near = d.dir.path().join("near");
    std::fs::create_dir(&near)?;
    std::fs::write(near.join("file"), "")?;
    let (to_near, to_far) = (d.dir.path().join("to-near"), d.dir.path().join("to-far"));
    std::os::unix::fs::symlink(&near, &to_near)?;
    std::os::unix::fs::symlink(&fuse.point, &to_far)?;
    let before = fuse.silent();
    for time in 0..20 {
        ends(d.command(&["start", "stuck"]))?.fails(1, &[named]).with_context(|| format!("time {time}"))?;
    }
    ensure!(fuse.silent() == before, "{} more were sent there", fuse.silent() - before);
    ends(d.command(&["run", "--rm", "-v", &format!("{}:/x", to_far.display()), "busybox", "true"]))?
        .fails(125, &[named])?;
    for place in [&near, &to_near] {
        let volume = format!("{}:/x", place.display());
        let ran = ends(d.command(&["run", "--rm", "-v", &volume, "busybox", "ls", "/x"]))?;
        ensure!(ran.code == 0 && ran.out == "file\n", "{ran:?}");
        let mount = format!("type=bind,src={}/file,dst=/x", place.display());
        let ran = ends(d.command(&["run", "--rm", "--mount", &mount, "busybox", "ls", "/x"]))?;
        ensure!(ran.code == 0 && ran.out == "/x\n", "{ran:?}");
    }
    Ok(())
}

fn a_mount_that_somebody_uses(w: &World) -> Result<()> {
    let (d, fuse) = with_fuse(w)?;
    let volume = format!("{}:/remote", fuse.point.display());
    let id = d.ok(&["run", "-d", "--name", "used", "-v", &volume, "-v", "data:/data", "busybox", "sleep", "1000"])?;
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", "used"])?;
    // From outside, in its mounts, with its root and its volume in use.
    let mut outside = d.disk()?.command("nsenter");
    outside.args(["-t", &pid, "-m", "--", "/bin/sh", "-c", "cd /data; exec 3>held; echo in; read end"]);
    let mut outside = outside.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = [0; 3];
    std::io::Read::read_exact(outside.stdout.as_mut().context("no stdout")?, &mut line)?;
    let ran = ends(d.command(&["rm", "-f", "used"]))?;
    ensure!(ran.code == 0, "{ran:?}");
    ensure!(!d.root().join("containers").join(&id).exists());
    d.ok(&["run", "--rm", "--name", "used", "-v", "data:/data", "busybox", "ls", "/data/held"])?;
    drop(outside.stdin.take());
    outside.wait()?;
    until("the trash to be empty", || {
        let trash = std::fs::read_dir(d.root().join("trash")).map(Iterator::count).unwrap_or_default();
        Ok((trash == 0).then_some(()))
    })
}
