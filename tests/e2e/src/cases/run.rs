//! `run` and its flags.

use crate::daemon::{read, until};
use crate::runner::World;
use anyhow::{Result, ensure};

super::cases!("run":
    hello_needs_nothing, streams_and_exit_codes, environment_workdir_user_and_hostname, standard_input_arrives_whole,
    background_and_wait, rm_leaves_nothing, own_machine_copy_on_write, rootfs_directory, read_only_root_and_tmpfs,
    binds_and_volumes, anonymous_volumes_copy_up, init_reaps_and_forwards, entrypoint_and_command, cidfile_and_labels,
    large_output_is_complete, parallel_starts, shared_namespaces, sysctls_ulimits_and_shm,
);

fn hello_needs_nothing(w: &World) -> Result<()> {
    let said = w.daemon()?.ok(&["run", "--rm", "dhow/hello"])?;
    ensure!(said.contains("dhow") && said.lines().count() > 3, "{said}");
    Ok(())
}

fn streams_and_exit_codes(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = d.cli(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3"])?;
    ensure!((r.code, r.out.as_str(), r.err.as_str()) == (3, "out\n", "err\n"), "{r:?}");
    let r = d.cli(&["run", "--rm", "busybox", "sh", "-c", "kill -TERM $$; kill -KILL $$"])?;
    // as process 1 of its namespace it can't be killed from inside by signals without a handler
    ensure!(r.code == 0, "{r:?}");
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    d.ok(&["kill", "-s", "KILL", &id])?;
    ensure!(d.ok(&["wait", &id])? == "137");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn environment_workdir_user_and_hostname(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let mut c = d.command(&[
        "run",
        "--rm",
        "-e",
        "A=1",
        "-e",
        "FROM_CALLER",
        "-w",
        "/tmp/new",
        "-u",
        "7:8",
        "-h",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo $A $FROM_CALLER $(pwd) $(id -u):$(id -g) $(hostname) $HOME",
    ]);
    c.env("FROM_CALLER", "yes");
    let out = c.output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    ensure!(text.trim() == "1 yes /tmp/new 7:8 box /", "{text} {}", String::from_utf8_lossy(&out.stderr));
    let env = d.ok(&["run", "--rm", "busybox", "env"])?;
    ensure!(env.contains("PATH=/usr/local/sbin:") && env.contains("HOSTNAME=") && env.contains("HOME=/root"), "{env}");
    ensure!(env.lines().count() == 3, "the caller's environment must not leak: {env}");
    Ok(())
}

fn standard_input_arrives_whole(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let input: Vec<u8> = (0..3_000_000u32).map(|i| b'a' + (i % 23) as u8).collect();
    let r = d.with_input(&["run", "--rm", "-i", "busybox", "cat"], &input)?;
    ensure!(r.code == 0 && r.out.as_bytes() == input, "{} of {} bytes, {}", r.out.len(), input.len(), r.err);
    let r = d.with_input(&["run", "--rm", "busybox", "cat"], b"not sent")?;
    ensure!(r.code == 0 && r.out.is_empty(), "{r:?}");
    Ok(())
}

fn background_and_wait(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sh", "-c", "exit 42"])?;
    ensure!(id.len() == 64, "{id}");
    ensure!(d.ok(&["wait", &id])? == "42");
    ensure!(d.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", &id])? == "exited 42");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn rm_leaves_nothing(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "--rm", "-v", "/data", "-m", "64m", "-p", "8080", "busybox", "true"])?;
    ensure!(d.ok(&["ps", "-aq"])?.is_empty());
    until("the container's directory to go", || {
        Ok(std::fs::read_dir(d.root().join("containers"))?.next().is_none().then_some(()))
    })?;
    until("the volume to go", || Ok(std::fs::read_dir(d.root().join("volumes"))?.next().is_none().then_some(())))?;
    // the daemon, the zygote and the shim that waits for the next container
    until("the shim to go", || Ok((d.processes().len() <= 3).then_some(())))?;
    Ok(())
}

fn own_machine_copy_on_write(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let marker = format!("/dhow-e2e-{}", std::process::id());
    let r = d.cli(&[
        "run",
        "--rm",
        "--rootfs",
        "/:O",
        "sh",
        "-c",
        &format!("echo x > {marker} && cat {marker} && ls /usr | head -n 1 && echo $$"),
    ])?;
    ensure!(r.code == 0 && r.out.starts_with("x\n") && r.out.trim().ends_with("\n1"), "{r:?}");
    ensure!(!std::path::Path::new(&marker).exists(), "the machine's own tree was written");
    Ok(())
}

fn rootfs_directory(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let dir = d.dir.path().join("tree");
    crate::daemon::busybox_root(&dir)?;
    let path = dir.display().to_string();
    ensure!(
        d.ok(&["run", "--rm", "--rootfs", &path, "/bin/busybox", "sh", "-c", "echo 1 > /made; echo done"])? == "done"
    );
    ensure!(read(dir.join("made"))?.trim() == "1", "without :O the directory itself is the root");
    Ok(())
}

fn read_only_root_and_tmpfs(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = d.cli(&[
        "run",
        "--rm",
        "--read-only",
        "--tmpfs",
        "/t:size=1m,mode=1777",
        "busybox",
        "sh",
        "-c",
        "echo a > /t/a; grep ' /t ' /proc/mounts; echo b > /b",
    ])?;
    ensure!(r.code == 1 && r.out.contains("size=1024k") && r.err.contains("Read-only file system"), "{r:?}");
    Ok(())
}

fn binds_and_volumes(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let host = d.dir.path().join("host");
    std::fs::create_dir(&host)?;
    std::fs::write(host.join("f"), "from the machine")?;
    let bind = format!("{}:/x", host.display());
    ensure!(
        d.ok(&["run", "--rm", "-v", &bind, "busybox", "sh", "-c", "cat /x/f; echo new > /x/g"])? == "from the machine"
    );
    ensure!(read(host.join("g"))? == "new\n");
    let r = d.cli(&["run", "--rm", "-v", &format!("{bind}:ro"), "busybox", "touch", "/x/h"])?;
    ensure!(r.code == 1 && r.err.contains("Read-only"), "{r:?}");
    let mount = format!("type=bind,source={},target=/y,readonly", host.display());
    ensure!(d.ok(&["run", "--rm", "--mount", &mount, "busybox", "cat", "/y/f"])? == "from the machine");
    d.cli(&["run", "--rm", "--mount", "type=bind,source=/does/not/exist,target=/y", "busybox", "true"])?
        .fails(125, &["/does/not/exist", "bind source path does not exist"])?;
    Ok(())
}

fn anonymous_volumes_copy_up(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["run", "-d", "-v", "/etc", "busybox", "sleep", "1000"])?;
    ensure!(
        d.ok(&["exec", &id, "cat", "/etc/passwd"])?.contains("root"),
        "an anonymous volume starts with the image's files"
    );
    let mounts = d.inspect(&id)?["Mounts"].clone();
    ensure!(mounts[0]["Type"] == "volume" && mounts[0]["Destination"] == "/etc", "{mounts}");
    d.ok(&["rm", "-f", "-v", &id])?;
    until("the volume to go", || Ok(std::fs::read_dir(d.root().join("volumes"))?.next().is_none().then_some(())))?;
    Ok(())
}

fn init_reaps_and_forwards(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let out = d.ok(&[
        "run",
        "--rm",
        "--init",
        "busybox",
        "sh",
        "-c",
        "echo $$; cat /proc/1/comm; (sleep 0 &) ; sleep 0; ps | grep -c '[Z]ombie\\|Z  '",
    ])?;
    ensure!(!out.starts_with("1\n"), "{out}");
    let id = d.ok(&["run", "-d", "--init", "busybox", "sleep", "1000"])?;
    let t = std::time::Instant::now();
    d.ok(&["stop", "-t", "30", &id])?;
    ensure!(t.elapsed().as_secs() < 25, "init did not forward the signal");
    ensure!(d.ok(&["inspect", "-f", "{{.State.ExitCode}}", &id])? == "143");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn entrypoint_and_command(w: &World) -> Result<()> {
    let d = w.daemon()?;
    ensure!(d.ok(&["run", "--rm", "--entrypoint", "echo", "busybox", "a", "b"])? == "a b");
    let r = d.cli(&["run", "--rm", "--entrypoint", "", "busybox"])?;
    ensure!(r.code != 0, "no command at all must be refused: {r:?}");
    Ok(())
}

fn cidfile_and_labels(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let file = d.dir.path().join("cid").display().to_string();
    let id = d.ok(&["create", "--cidfile", &file, "-l", "a=b", "--name", "labelled", "busybox", "true"])?;
    ensure!(read(&file)? == id);
    ensure!(d.ok(&["inspect", "-f", "{{json .Config.Labels}} {{.Name}}", "labelled"])? == r#"{"a":"b"} /labelled"#);
    d.cli(&["run", "--cidfile", &file, "busybox", "true"])?.fails(125, &["container ID file found"])?;
    d.ok(&["rm", "labelled"])?;
    Ok(())
}

fn large_output_is_complete(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = d.cli(&["run", "--rm", "busybox", "sh", "-c", "seq 1 400000; echo end >&2"])?;
    ensure!(
        r.out.lines().count() == 400_000 && r.out.ends_with("400000\n") && r.err == "end\n",
        "{} lines",
        r.out.lines().count()
    );
    Ok(())
}

fn parallel_starts(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    std::thread::scope(|s| -> Result<()> {
        let d = &d;
        let all: Vec<_> = (0..40)
            .map(|i| s.spawn(move || d.ok(&["run", "--rm", "busybox", "sh", "-c", &format!("echo {i}")])))
            .collect();
        for (i, one) in all.into_iter().enumerate() {
            let said = one.join().map_err(|_| anyhow::anyhow!("panic"))??;
            ensure!(said == i.to_string(), "{said}");
        }
        Ok(())
    })?;
    ensure!(d.ok(&["ps", "-aq"])?.is_empty());
    Ok(())
}

fn shared_namespaces(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "--ipc", "shareable", "busybox", "sleep", "1000"])?;
    let of = |words: &[&str], ns: &str| {
        d.ok(&[&["run", "--rm"], words, &["busybox", "readlink", &format!("/proc/self/ns/{ns}")]].concat())
    };
    let inside = |ns: &str| d.ok(&["exec", &id, "readlink", &format!("/proc/self/ns/{ns}")]);
    for (flag, ns) in [("--pid", "pid"), ("--ipc", "ipc"), ("--network", "net")] {
        let target = format!("container:{id}");
        ensure!(of(&[flag, &target], ns)? == inside(ns)?, "{flag}");
        ensure!(of(&[], ns)? != inside(ns)?, "{flag}: a namespace of its own by default");
    }
    let host = |ns: &str| -> Result<String> {
        Ok(std::fs::read_link(format!("/proc/{}/ns/{ns}", d.pid()))?.display().to_string())
    };
    for (flag, ns) in
        [("--pid", "pid"), ("--uts", "uts"), ("--ipc", "ipc"), ("--network", "net"), ("--cgroupns", "cgroup")]
    {
        ensure!(of(&[flag, "host"], ns)? == host(ns)?, "{flag} host");
    }
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn sysctls_ulimits_and_shm(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let out = d.ok(&[
        "run",
        "--rm",
        "--sysctl",
        "net.ipv4.ip_default_ttl=77",
        "--ulimit",
        "nofile=100:200",
        "--shm-size",
        "8m",
        "busybox",
        "sh",
        "-c",
        "cat /proc/sys/net/ipv4/ip_default_ttl; ulimit -n; ulimit -Hn; grep /dev/shm /proc/mounts",
    ])?;
    let lines: Vec<&str> = out.lines().collect();
    ensure!(lines[..3] == ["77", "100", "200"] && lines[3].contains("size=8192k"), "{out}");
    d.cli(&["run", "--rm", "--sysctl", "kernel.panic=1", "busybox", "true"])?.fails(125, &["kernel.panic"])?;
    Ok(())
}
