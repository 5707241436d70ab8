//! Bad input: a message that names the thing, the cause and the next step; the documented exit code; nothing left.

use super::clients::{docker, needs_docker_28};
use crate::runner::World;
use anyhow::{Result, ensure};

super::cases!("errors":
    unknown_words, words_that_lead_nowhere, words_that_lead_nowhere_are_docker_s, missing_programs, interpreters_and_architectures, causes_of_programs, names_and_ports_taken, nothing_is_left_behind, api_errors, unbuilt_parts_are_refused_by_name, no_daemon,
);

fn unknown_words(w: &World) -> Result<()> {
    let d = w.daemon()?;
    d.cli(&["run", "--nope", "busybox"])?.fails(125, &["unknown flag: --nope", "dhow run --help"])?;
    d.cli(&["frobnicate"])?.fails(1, &["unknown command: dhow frobnicate"])?;
    d.cli(&["build", "."])?.fails(1, &["'build' is a command of Docker that dhow does not have yet"])?;
    d.cli(&["run", "--gpus", "all", "busybox"])?.fails(125, &["--gpus"])?;
    d.cli(&["run", "-m", "1x", "busybox"])?.fails(125, &["--memory", "1x"])?;
    d.cli(&["run", "-m", "1k", "busybox"])?.fails(125, &["6MB"])?;
    d.cli(&["run", "BadName", "true"])?.fails(125, &["repository name", "lowercase"])?;
    d.cli(&["run"])?.fails(1, &["IMAGE"])?;
    Ok(())
}

/// The exit code, and what counts of what was said: lists differ, so of a help only its first line.
fn said(mut command: std::process::Command) -> Result<(Option<i32>, String)> {
    let ran = command.output()?;
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace("docker", "dhow");
        let help = text.starts_with("Usage:");
        text.lines().take(if help { 1 } else { usize::MAX }).collect::<Vec<_>>().join("\n")
    };
    Ok((ran.status.code(), format!("out: {}\nerr: {}", text(&ran.stdout), text(&ran.stderr))))
}

fn words_that_lead_nowhere(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for (line, code, wanted) in WORDS {
        let (got, text) = said(d.command(&line.split_whitespace().collect::<Vec<_>>()))?;
        ensure!(got == Some(*code) && text.contains(wanted), "`dhow {line}`: {got:?}, {text}");
    }
    Ok(())
}

fn words_that_lead_nowhere_are_docker_s(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.daemon()?;
    for (line, ..) in WORDS {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (ours, theirs) = (said(d.command(&words))?, said(docker(&d, &words)?)?);
        ensure!(ours == theirs, "`{line}`: dhow {ours:?}, docker {theirs:?}");
    }
    Ok(())
}

const WORDS: &[(&str, i32, &str)] = &[
    ("", 0, "err: Usage:  dhow [OPTIONS] COMMAND"),
    ("help", 0, "out: Usage:  dhow [OPTIONS] COMMAND"),
    ("--help", 0, "out: Usage:  dhow [OPTIONS] COMMAND"),
    ("--help=false", 0, "err: Usage:  dhow [OPTIONS] COMMAND"),
    ("foo", 1, "dhow: unknown command: dhow foo\n\nRun 'dhow --help' for more information"),
    ("foo bar", 1, "dhow: unknown command: dhow foo\n"),
    ("foo --help", 0, "out: Usage:  dhow [OPTIONS] COMMAND"),
    ("foo --x", 125, "unknown flag: --x\n\nUsage:  dhow [OPTIONS] COMMAND [ARG...]"),
    ("--x", 125, "unknown flag: --x\n\nUsage:  dhow [OPTIONS] COMMAND [ARG...]\n\nRun 'dhow --help'"),
    ("-x", 125, "unknown shorthand flag: 'x' in -x"),
    ("container", 0, "err: Usage:  dhow container COMMAND"),
    ("container --help", 0, "out: Usage:  dhow container COMMAND"),
    ("container foo", 1, "dhow: unknown command: dhow container foo\n\nUsage:  dhow container\n\nRun"),
    ("container foo --x", 125, "unknown flag: --x\n\nUsage:  dhow container\n"),
    ("container foo --help", 0, "out: Usage:  dhow container COMMAND"),
    ("container --x=3", 125, "unknown flag: --x\n"),
    ("container -xh", 125, "unknown shorthand flag: 'x' in -xh\n"),
    ("container ls --x", 125, "unknown flag: --x\n\nUsage:  dhow container ls [OPTIONS]\n"),
    ("ps -x", 125, "unknown shorthand flag: 'x' in -x\n\nUsage:  dhow ps [OPTIONS]\n"),
    ("help container", 0, "out: Usage:  dhow container COMMAND"),
    ("help container ls", 0, "out: Usage:  dhow container ls [OPTIONS]"),
    ("help container foo", 1, "unknown help topic: foo"),
    ("help container foo bar", 1, "unknown help topic: foo bar"),
    ("help foo bar", 1, "unknown help topic: foo bar"),
    ("help ps x", 1, "unknown help topic: x"),
];

fn missing_programs(w: &World) -> Result<()> {
    let d = w.daemon()?;
    d.cli(&["run", "--rm", "busybox", "nope"])?.fails(127, &["nope", "executable file not found in $PATH"])?;
    d.cli(&["run", "--rm", "busybox", "/nope"])?.fails(127, &["/nope", "no such file or directory"])?;
    d.cli(&["run", "--rm", "busybox", "/etc/passwd"])?.fails(126, &["/etc/passwd", "permission denied"])?;
    d.cli(&["run", "--rm", "busybox", "/etc"])?.fails(126, &["/etc"])?;
    Ok(())
}

fn interpreters_and_architectures(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let root = d.dir.path().join("odd");
    crate::daemon::busybox_root(&root)?;
    let put = |name: &str, bytes: &[u8]| -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let file = root.join("bin").join(name);
        std::fs::write(&file, bytes)?;
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755))?;
        Ok(())
    };
    put("script", b"#!/usr/bin/nopy\nprint()\n")?;
    let mut foreign = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    foreign.resize(16, 0);
    foreign.extend_from_slice(&[2, 0, 0xf3, 0, 1, 0, 0, 0]); // RISC-V
    foreign.resize(4096, 0);
    put("foreign", &foreign)?;
    put("empty-text", b"no magic here\n")?;
    let path = root.display().to_string();
    let run = |program: &str| d.cli(&["run", "--rm", "--rootfs", &path, program]);
    run("/bin/script")?.fails(127, &["/usr/bin/nopy"])?;
    run("/bin/foreign")?.fails(126, &["exec format error"])?;
    run("/bin/empty-text")?.fails(126, &["exec format error"])?;
    Ok(())
}

fn causes_of_programs(w: &World) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let d = w.daemon()?;
    let dir = d.dir.path().join("causes");
    std::fs::create_dir_all(&dir)?;
    for (name, text) in [("crlf", "#!/bin/sh\r\necho no\r\n"), ("script", "#!/bin/sh\necho works\n")] {
        std::fs::write(dir.join(name), text)?;
        std::fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o755))?;
    }
    let volume = format!("{}:/s", dir.display());
    let run = |words: &[&str]| d.cli(&[&["run", "--rm", "-v", &volume], words].concat());
    run(&["busybox", "/s/crlf"])?.fails(127, &["no such file or directory", "ends in CR LF", "dos2unix"])?;
    ensure!(run(&["busybox", "/s/script"])?.ok()? == "works");
    // Anything that begins like a flag, and is none for the program either.
    run(&["busybox", "-p", "80:80"])?
        .fails(127, &["\"-p\": executable file not found", "put flags before the image"])?;
    let copy = "cp /s/script /t/x && /t/x";
    run(&["--tmpfs", "/t:noexec", "busybox", "sh", "-c", "mkdir /t/d && cp /s/script /t/d/x && /t/d/x"])?
        .fails(126, &["Permission denied"])?;
    ensure!(run(&["--tmpfs", "/t:exec", "busybox", "sh", "-c", copy])?.ok()? == "works");
    let id = d.ok(&["run", "-d", "--tmpfs", "/t:noexec", "-v", &volume, "busybox", "sleep", "1000"])?;
    d.ok(&["exec", &id, "sh", "-c", "mkdir /t/d && cp /s/script /t/d/x"])?;
    d.cli(&["exec", &id, "/t/d/x"])?.fails(126, &["permission denied", "/t is mounted noexec"])?;
    ensure!(d.ok(&["exec", &id, "/s/script"])? == "works");
    d.ok(&["rm", "-f", &id])?;
    run(&["-u", "rot", "busybox", "true"])?.fails(125, &["unable to find user rot", "did you mean root?"])?;
    run(&["-u", "root:rot", "busybox", "true"])?.fails(125, &["unable to find group rot", "did you mean root?"])?;
    run(&["-u", "root:root", "busybox", "true"])?.ok()?;
    Ok(())
}

fn names_and_ports_taken(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["create", "--name", "occupied", "busybox", "true"])?;
    d.cli(&["create", "--name", "occupied", "busybox"])?
        .fails(1, &["already in use by container", &id, "It is created.", "`dhow rm occupied`"])?;
    d.ok(&["rm", "occupied"])?;
    let id = d.ok(&["run", "-d", "--name", "occupied", "-p", "8090:80", "busybox", "sleep", "1000"])?;
    d.cli(&["create", "--name", "occupied", "busybox"])?.fails(1, &["It is running.", "`dhow rm -f occupied`"])?;
    let words = ["port is already allocated", &format!("by container {}", &id[..12])];
    d.cli(&["run", "--rm", "-p", "8090:80", "busybox", "true"])?.fails(125, &words)?;
    d.ok(&["rm", "-f", "occupied"])?;
    d.ok(&["run", "--rm", "--name", "occupied", "-p", "8090:80", "busybox", "true"])?;
    Ok(())
}

fn nothing_is_left_behind(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "--rm", "busybox", "true"])?;
    let groups = || -> Vec<String> {
        let mut found = Vec::new();
        let mut stack = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
        while let Some(dir) = stack.pop() {
            for entry in std::fs::read_dir(&dir)
                .into_iter()
                .flatten()
                .flatten()
                .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            {
                if entry.file_name().len() == 64 {
                    found.push(entry.path().display().to_string());
                }
                stack.push(entry.path());
            }
        }
        found
    };
    for words in [
        &["run", "--rm", "-p", "8085:80", "-m", "64m", "busybox", "nope"][..],
        &["run", "--rm", "-p", "8085:80", "-w", "/etc/passwd", "busybox", "true"],
        &["run", "--rm", "-p", "8085:80", "-v", "/dev/null:/etc/passwd/x", "busybox", "true"],
        &["run", "--rm", "-p", "8085:80", "-u", "nobody-here", "busybox", "true"],
    ] {
        let before = groups().len();
        let r = d.cli(words)?;
        ensure!(r.code != 0, "{words:?}: {r:?}");
        ensure!(d.ok(&["ps", "-aq"])?.is_empty(), "{words:?} left its container");
        crate::daemon::until("its directory and group to go", || {
            let dirs = std::fs::read_dir(d.root().join("containers"))?.count();
            Ok((dirs == 0 && groups().len() <= before).then_some(()))
        })?;
    }
    // without --rm the container stays, can be looked at, and the port is free again
    let r = d.cli(&["run", "--name", "kept", "-p", "8085:80", "busybox", "nope"])?;
    ensure!(r.code == 127);
    ensure!(d.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "kept"])? == "created 127");
    d.ok(&["run", "--rm", "-p", "8085:80", "busybox", "true"])?;
    Ok(())
}

fn api_errors(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let check = |method: &str, path: &str, body: &str, status: u16, words: &str| -> Result<()> {
        let (got, _, text) = d.http(method, path, body)?;
        ensure!(got == status && text.contains(words), "{method} {path}: {got} {text}");
        ensure!(serde_json::from_str::<serde_json::Value>(&text)?["message"].is_string(), "{text}");
        Ok(())
    };
    check("GET", "/nope", "", 404, "page not found")?;
    check("GET", "/v1.23/containers/json", "", 400, "too old")?;
    check("GET", "/v1.99/containers/json", "", 400, "too new")?;
    check("POST", "/containers/create", "{", 400, "")?;
    check("POST", "/containers/create", "{}", 400, "")?;
    check("POST", "/containers/create", r#"{"Image":"nope"}"#, 404, "No such image: nope:latest")?;
    check("GET", "/containers/nope/json", "", 404, "No such container: nope")?;
    check("DELETE", "/images/nope", "", 404, "No such image: nope:latest")?;
    check("POST", "/build", "", 501, "build")?;
    check("GET", "/volumes", "", 501, "volumes")?;
    check(
        "POST",
        "/containers/create",
        r#"{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"sometimes"}}}"#,
        400,
        "unknown policy 'sometimes'; use one of",
    )?;
    Ok(())
}

fn unbuilt_parts_are_refused_by_name(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for (flags, word) in [
        (&["--runtime", "kata"][..], "kata"),
        (&["--storage-opt", "size=1g"], "--storage-opt"),
        (&["--userns", "keep-id"], "--userns: invalid USER mode"),
        (&["--volume-driver", "nfs", "-v", "x:/y"], "nfs"),
    ] {
        let r = d.cli(&[&["run", "--rm"], flags, &["busybox", "true"]].concat())?;
        ensure!(r.code == 125 && r.err.contains(word), "{flags:?}: {r:?}");
    }
    Ok(())
}

fn no_daemon(w: &World) -> Result<()> {
    let mut c = std::process::Command::new(&w.setup.dhow);
    let out = c.args(["-H", "unix:///nonexistent/dhow.sock", "ps"]).output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(
        out.status.code() == Some(1) && said.contains("/nonexistent/dhow.sock") && said.contains("dhow daemon"),
        "{said}"
    );
    Ok(())
}
