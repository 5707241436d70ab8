//! What a container can't do by default, each with what it can.

use crate::runner::World;
use anyhow::{Result, ensure};

super::cases!("security":
    capabilities, seccomp_is_on, paths_are_masked_and_read_only, new_namespaces_are_refused, working_directory_stays_inside,
    image_paths_cannot_lead_out, no_descriptors_are_left, binary_is_read_only, privileged_is_different, numeric_users_do_not_wrap,
    giant_passwd_is_refused, nothing_of_the_machine_is_mounted, layers_are_plain, state_is_private, sockets_are_on_paths, no_new_privileges,
);

fn capabilities(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let caps = |flags: &[&str]| -> Result<String> {
        let out = d.ok(&[&["run", "--rm"], flags, &["busybox", "grep", "Cap", "/proc/self/status"]].concat())?;
        Ok(out.lines().map(|l| l.split('\t').nth(1).unwrap_or_default()).collect::<Vec<_>>().join(" "))
    };
    let (none, usual) = ("0000000000000000", "00000000a80425fb");
    ensure!(
        caps(&[])? == format!("{none} {usual} {usual} {usual} {none}"),
        "Docker's fourteen, none inheritable or ambient: {}",
        caps(&[])?
    );
    ensure!(caps(&["--cap-drop", "ALL"])? == [none; 5].join(" "));
    ensure!(caps(&["--cap-drop", "all", "--cap-add", "chown"])?.contains("0000000000000001"));
    ensure!(caps(&["--cap-add", "CAP_SYS_ADMIN"])?.contains("00000000a82425fb"));
    ensure!(
        caps(&["-u", "1000"])? == format!("{none} {none} {none} {usual} {none}"),
        "a user who is not root holds none"
    );
    d.cli(&["run", "--rm", "--cap-add", "NOSUCH", "busybox", "true"])?.fails(125, &["NOSUCH"])?;
    Ok(())
}

fn seccomp_is_on(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let mode = |flags: &[&str]| {
        d.ok(&[&["run", "--rm"], flags, &["busybox", "grep", "Seccomp:", "/proc/self/status"]].concat())
    };
    ensure!(mode(&[])? == "Seccomp:\t2");
    ensure!(mode(&["--security-opt", "seccomp=unconfined"])? == "Seccomp:\t0");
    let profile = d.dir.path().join("p.json");
    std::fs::write(
        &profile,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#,
    )?;
    let flag = format!("seccomp={}", profile.display());
    let r = d.cli(&["run", "--rm", "--security-opt", &flag, "busybox", "mkdir", "/x"])?;
    ensure!(r.code == 1 && r.err.contains("not implemented"), "{r:?}");
    d.cli(&["run", "--rm", "--security-opt", "seccomp=/none.json", "busybox", "true"])?.fails(125, &["/none.json"])?;
    d.cli(&["run", "--rm", "--security-opt", "what=ever", "busybox", "true"])?.fails(125, &["what"])?;
    Ok(())
}

fn paths_are_masked_and_read_only(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let script = "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/default_smp_affinity /sys/kernel/uevent_helper; do \
        [ -e $f ] && (echo x > $f) 2>/dev/null && echo WROTE $f; done; head -c 1 /proc/kcore | wc -c; ls /sys/firmware 2>/dev/null | wc -l; ls /proc/acpi 2>/dev/null | wc -l";
    let out = d.ok(&["run", "--rm", "busybox", "sh", "-c", script])?;
    ensure!(out == "0\n0\n0", "{out}");
    // every writable file below /proc/sys that is not of a namespace of the container's own is one too many
    let out = d.ok(&["run", "--rm", "busybox", "sh", "-c", "find /proc/sys -type f 2>/dev/null | while read f; do [ -w $f ] && (: >> $f) 2>/dev/null && echo $f; done; true"])?;
    ensure!(out.is_empty(), "writable: {out}");
    let out = d.ok(&["run", "--rm", "busybox", "sh", "-c", "(mkdir /sys/fs/cgroup/x || mkdir /sys/fs/cgroup/pids/x || mkdir /sys/fs/cgroup/unified/x) 2>/dev/null && echo made; true"])?;
    ensure!(out.is_empty(), "the control groups are writable");
    Ok(())
}

fn new_namespaces_are_refused(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = d.cli(&["run", "--rm", "busybox", "unshare", "-U", "true"])?;
    ensure!(r.code != 0 && r.err.contains("not permitted"), "{r:?}");
    let r = d.cli(&["run", "--rm", "busybox", "mount", "-t", "tmpfs", "x", "/mnt"])?;
    ensure!(r.code != 0, "{r:?}");
    let out = d.ok(&[
        "run",
        "--rm",
        "--cap-add",
        "SYS_ADMIN",
        "busybox",
        "sh",
        "-c",
        "mkdir -p /m && mount -t tmpfs x /m && echo mounted",
    ])?;
    ensure!(out == "mounted", "with the capability it is lawful: {out}");
    Ok(())
}

/// CVE-2024-21626: a working directory over a left-open descriptor leads out.
fn working_directory_stays_inside(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for fd in 3..24 {
        let dir = format!("/proc/self/fd/{fd}");
        let r = d.cli(&[
            "run",
            "--rm",
            "-w",
            &dir,
            "busybox",
            "sh",
            "-c",
            "cat /proc/self/mountinfo | head -n 1; ls ../../../../etc/dhow-host-marker",
        ])?;
        ensure!(r.code != 0 && !r.out.contains(" / / "), "fd {fd}: {r:?}");
    }
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    for fd in 3..24 {
        let r = d.cli(&["exec", "-w", &format!("/proc/self/fd/{fd}"), &id, "pwd"])?;
        ensure!(r.code != 0, "exec fd {fd}: {r:?}");
    }
    ensure!(d.ok(&["exec", "-w", "/etc", &id, "pwd"])? == "/etc");
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

/// CVE-2019-19921, 2023-27561, 2026-41579: `/proc`, `/dev`, `/etc` of the root are links that lead out.
fn image_paths_cannot_lead_out(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let canary = d.dir.path().join("canary");
    std::fs::create_dir_all(&canary)?;
    for name in ["proc", "dev", "sys", "etc"] {
        let root = d.dir.path().join(format!("root-{name}"));
        crate::daemon::busybox_root(&root)?;
        std::os::unix::fs::symlink(&canary, root.join(name))?;
        let r = d.cli(&[
            "run",
            "--rm",
            "-v",
            "/tmp:/etc/x/y",
            "--rootfs",
            &root.display().to_string(),
            "/bin/busybox",
            "true",
        ])?;
        let left: Vec<_> = std::fs::read_dir(&canary)?.flatten().map(|e| e.file_name()).collect();
        ensure!(left.is_empty(), "/{name}: {left:?} was made outside; {r:?}");
    }
    Ok(())
}

fn no_descriptors_are_left(w: &World) -> Result<()> {
    let d = w.daemon()?;
    // The directory that is being read is open, too; a shell would have pipes of its own for a moment.
    let open = d.ok(&["run", "--rm", "busybox", "ls", "/proc/self/fd"])?;
    ensure!(open.split_whitespace().eq(["0", "1", "2", "3"]), "{open}");
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    let inside = d.ok(&["exec", &id, "sh", "-c", "ls -l /proc/1/fd /proc/self/fd"])?;
    ensure!(!inside.contains("dhow.sock") && !inside.contains(".db"), "{inside}");
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

/// CVE-2019-5736: the runtime's own binary is reached through /proc/self/exe and overwritten.
fn binary_is_read_only(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let before = std::fs::metadata(&w.setup.dhow)?.modified()?;
    let root = d.dir.path().join("exe-root");
    crate::daemon::busybox_root(&root)?;
    std::os::unix::fs::symlink("/proc/self/exe", root.join("bin/entry"))?;
    let r = d.cli(&["run", "--rm", "--rootfs", &root.display().to_string(), "/bin/entry", "--version"])?;
    ensure!(!r.out.is_empty() || r.code != 0, "{r:?}");
    let script =
        "for p in /proc/[0-9]*; do (echo x >> $p/exe) 2>/dev/null && echo WROTE $p $(readlink $p/exe); done; true";
    let r = d.cli(&[
        "run",
        "--rm",
        "--pid",
        "host",
        "--cap-add",
        "SYS_PTRACE",
        "busybox",
        "sh",
        "-c",
        &format!("{} ", script.replace("/proc/[0-9]*", "/proc/self")),
    ])?;
    ensure!(!r.out.contains("dhow"), "{r:?}");
    ensure!(std::fs::metadata(&w.setup.dhow)?.modified()? == before, "the binary was written");
    Ok(())
}

fn privileged_is_different(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let out = d.ok(&["run", "--rm", "--privileged", "busybox", "sh", "-c", "grep -E 'Seccomp:|CapEff' /proc/self/status; mkdir -p /m; mount -t tmpfs x /m && echo mounted; ls /dev | wc -l"])?;
    let lines: Vec<&str> = out.lines().collect();
    ensure!(out.contains("Seccomp:\t0") && out.contains("mounted"), "{out}");
    ensure!(lines.last().and_then(|l| l.parse::<u32>().ok()) > Some(18), "the machine's devices are there: {out}");
    Ok(())
}

/// CVE-2024-40635, 2026-30892, 2016-3697.
fn numeric_users_do_not_wrap(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for bad in
        ["2147483648", "4294967295", "4294967296", "-1", "1:4294967295", " 1", "nobody-here", "99999999999999999999"]
    {
        let r = d.cli(&["run", "--rm", "-u", bad, "busybox", "id", "-u"])?;
        ensure!(r.code != 0 && r.out.is_empty(), "{bad:?}: {r:?}");
    }
    for (good, want) in [("1", "1"), ("1:2", "1"), ("root", "0"), ("0", "0"), ("2147483647", "2147483647")] {
        ensure!(d.ok(&["run", "--rm", "-u", good, "busybox", "id", "-u"])? == want, "{good}");
    }
    Ok(())
}

/// CVE-2025-4437, 2026-47262, 2024-9676: a passwd file that is huge, or no file.
fn giant_passwd_is_refused(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for kind in ["sparse", "fifo", "device"] {
        let root = d.dir.path().join(format!("passwd-{kind}"));
        crate::daemon::busybox_root(&root)?;
        std::fs::create_dir_all(root.join("etc"))?;
        let file = root.join("etc/passwd");
        match kind {
            "sparse" => std::fs::File::create(&file)?.set_len(1 << 40)?,
            "fifo" => rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o644.into(), 0)?,
            _ => std::os::unix::fs::symlink("/dev/zero", &file)?,
        }
        let r =
            d.cli(&["run", "--rm", "-u", "somebody", "--rootfs", &root.display().to_string(), "/bin/busybox", "true"])?;
        ensure!(r.code != 0 && (r.err.contains("passwd") || r.err.contains("somebody")), "{kind}: {r:?}");
    }
    Ok(())
}

fn state_is_private(w: &World) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let d = w.daemon()?;
    for dir in ["root", "state", "root/containers", "root/layers"] {
        let mode = std::fs::metadata(d.dir.path().join(dir))?.permissions().mode() & 0o777;
        ensure!(mode == 0o700, "{dir} is {mode:o}");
    }
    let mode = std::fs::metadata(d.dir.path().join("dhow.sock"))?.permissions().mode() & 0o777;
    ensure!(mode == 0o660, "the socket is {mode:o}");
    Ok(())
}

/// CVE-2020-15257: nothing listens on an abstract socket.
fn sockets_are_on_paths(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    let listening = d.net.run(&["cat", "/proc/net/unix"])?;
    let abstract_ones: Vec<&str> = listening.lines().filter(|l| l.contains(" @")).collect();
    ensure!(abstract_ones.is_empty(), "{abstract_ones:?}");
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn no_new_privileges(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let show = |flags: &[&str]| {
        d.ok(&[&["run", "--rm"], flags, &["busybox", "grep", "NoNewPrivs", "/proc/self/status"]].concat())
    };
    ensure!(show(&[])? == "NoNewPrivs:\t0", "off by default, as with Docker");
    ensure!(show(&["--security-opt", "no-new-privileges"])? == "NoNewPrivs:\t1");
    Ok(())
}

/// The old root must be let go of: with a path to it everything above would be for nothing.
fn nothing_of_the_machine_is_mounted(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for flags in [&[][..], &["--init"], &["--privileged"], &["--security-opt", "systempaths=unconfined"]] {
        let mounts = d.ok(&[&["run", "--rm"], flags, &["busybox", "cat", "/proc/self/mountinfo"]].concat())?;
        let roots: Vec<&str> = mounts.lines().filter(|l| l.split(' ').nth(4) == Some("/")).collect();
        ensure!(roots.len() == 1 && roots[0].contains(" - overlay "), "{flags:?}: {roots:#?}");
        let devtmpfs = mounts.lines().filter(|l| l.contains(" - devtmpfs ")).count();
        ensure!(devtmpfs == 0, "{flags:?}: {mounts}");
    }
    Ok(())
}

/// What a container writes is a plain layer whatever the defaults of the kernel's module are (the virtual machine sets
/// them to the contrary): whole files under their own names, and no attribute that leads elsewhere.
fn layers_are_plain(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let script = "grep ' / / ' /proc/self/mountinfo; chmod 700 /bin/busybox; mv /etc /moved; ls /moved/passwd";
    let seen = d.ok(&["run", "--name", "plain", "busybox", "sh", "-c", script])?;
    ensure!(
        seen.contains("redirect_dir=nofollow") && !seen.contains("metacopy=on") && !seen.contains("index=on"),
        "{seen}"
    );
    ensure!(seen.ends_with("/moved/passwd"), "{seen}");
    let id = d.ok(&["inspect", "-f", "{{.Id}}", "plain"])?;
    let upper = d.root().join("containers").join(id).join("upper");
    let copied = std::fs::metadata(upper.join("bin/busybox"))?;
    let blocks = std::os::unix::fs::MetadataExt::blocks(&copied);
    ensure!(copied.len() > 0 && blocks > 0, "{} bytes in {blocks} blocks: only the mode was copied", copied.len());
    ensure!(upper.join("moved/passwd").exists(), "the moved directory is not whole");
    for path in ["bin/busybox", "moved", "moved/passwd"] {
        let mut names = vec![0; 4096];
        let n = rustix::fs::llistxattr(upper.join(path), &mut names)?;
        let names = String::from_utf8_lossy(&names[..n]).into_owned();
        for bad in ["redirect", "metacopy"] {
            ensure!(!names.contains(&format!("trusted.overlay.{bad}")), "{path}: {names:?}");
        }
    }
    d.ok(&["rm", "plain"])?;
    Ok(())
}
