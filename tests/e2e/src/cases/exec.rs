//! `exec`.

use crate::daemon::until;
use crate::runner::World;
use anyhow::{Result, ensure};

super::cases!("exec": output_and_exit_codes, input_user_environment_workdir, detached, missing_programs, same_isolation_as_the_container, many_at_once);

fn container(w: &World, flags: &[&str]) -> Result<(std::sync::Arc<crate::daemon::Daemon>, String)> {
    let d = w.daemon()?;
    let id = d.ok(&[&["run", "-d"], flags, &["busybox", "sleep", "1000"]].concat())?;
    Ok((d, id))
}

fn output_and_exit_codes(w: &World) -> Result<()> {
    let (d, id) = container(w, &[])?;
    let r = d.cli(&["exec", &id, "sh", "-c", "echo out; echo err >&2; exit 7"])?;
    ensure!((r.code, r.out.as_str(), r.err.as_str()) == (7, "out\n", "err\n"), "{r:?}");
    let r = d.cli(&["exec", &id, "sh", "-c", "kill -KILL $$"])?;
    ensure!(r.code == 137, "{r:?}");
    d.ok(&["rm", "-f", &id])?;
    d.cli(&["exec", &id, "true"])?.fails(1, &["No such container"])?;
    Ok(())
}

fn input_user_environment_workdir(w: &World) -> Result<()> {
    let (d, id) = container(w, &["-e", "FROM_RUN=1"])?;
    let input: Vec<u8> = (0..500_000u32).map(|i| b'a' + (i % 23) as u8).collect();
    let r = d.with_input(&["exec", "-i", &id, "cat"], &input)?;
    ensure!(r.code == 0 && r.out.as_bytes() == input, "{} bytes", r.out.len());
    let out =
        d.ok(&["exec", "-u", "5", "-e", "X=2", "-w", "/tmp", &id, "sh", "-c", "echo $FROM_RUN $X $(id -u) $(pwd)"])?;
    ensure!(out == "1 2 5 /tmp", "{out}");
    d.cli(&["exec", "-u", "nobody-here", &id, "true"])?.fails(126, &["nobody-here"])?;
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn detached(w: &World) -> Result<()> {
    let (d, id) = container(w, &[])?;
    d.ok(&["exec", "-d", &id, "sh", "-c", "echo yes > /made"])?;
    until("the detached program to write", || {
        Ok((d.cli(&["exec", &id, "cat", "/made"])?.out == "yes\n").then_some(()))
    })?;
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn missing_programs(w: &World) -> Result<()> {
    let (d, id) = container(w, &[])?;
    let r = d.cli(&["exec", &id, "nope"])?;
    ensure!(r.code == 127 && (r.out.clone() + &r.err).contains("executable file not found in $PATH"), "{r:?}");
    let r = d.cli(&["exec", &id, "/etc/passwd"])?;
    ensure!(r.code == 126 && (r.out.clone() + &r.err).contains("permission denied"), "{r:?}");
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn same_isolation_as_the_container(w: &World) -> Result<()> {
    let (d, id) = container(w, &["--cap-drop", "ALL"])?;
    let show = "grep -E 'CapEff|CapBnd|Seccomp:|NoNewPrivs' /proc/self/status; cat /proc/self/cgroup | sort; ls -l /proc/self/ns | sed 's/.*-> //' | grep -v total | sort";
    let inside = d.ok(&["exec", &id, "sh", "-c", show])?;
    let first = d.ok(&["exec", &id, "sh", "-c", &show.replace("/proc/self", "/proc/1")])?;
    ensure!(inside == first, "exec differs from process 1:\n{inside}\n--\n{first}");
    ensure!(inside.contains("CapEff:\t0000000000000000") && inside.contains("Seccomp:\t2"), "{inside}");
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn many_at_once(w: &World) -> Result<()> {
    let (d, id) = container(w, &[])?;
    std::thread::scope(|s| -> Result<()> {
        let (d, id) = (&d, &id);
        let all: Vec<_> = (0..30).map(|i| s.spawn(move || d.ok(&["exec", id, "echo", &i.to_string()]))).collect();
        for (i, one) in all.into_iter().enumerate() {
            ensure!(one.join().map_err(|_| anyhow::anyhow!("panic"))?? == i.to_string());
        }
        Ok(())
    })?;
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}
