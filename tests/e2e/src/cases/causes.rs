//! Errors that tell causes apart: each with its word in the API, dhow's exit code by that word, and what Docker's client
//! makes of the same sentence.

use super::clients::{docker, needs_docker_28};
use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

super::cases!("causes":
    programs, of_exec, users_and_groups, ports, names, what_is_missing, codes_go_by_cause_else_by_words,
    a_daemons_error_in_a_log,
);

/// What fails, and how it is told.
struct Row<'a> {
    /// Behind `run --rm`.
    words: &'a [&'a str],
    cause: &'a str,
    /// dhow's exit code, and that of Docker's client.
    codes: (i32, i32),
    parts: &'a [&'a str],
}

impl Row<'_> {
    /// The same from dhow, from Docker's client, and from the API.
    fn check(&self, d: &Daemon) -> Result<()> {
        let run = [&["run", "--rm"], self.words].concat();
        d.cli(&run)?.fails(self.codes.0, self.parts).with_context(|| format!("dhow {run:?}"))?;
        // The answer to a start.
        let id = d.ok(&[&["create"], self.words].concat())?;
        let (status, _, body) = d.http("POST", &format!("/containers/{id}/start"), "")?;
        d.ok(&["rm", &id])?;
        let told: Value = serde_json::from_str(&body)?;
        ensure!(told["cause"] == self.cause, "{run:?}: {status} {body}");
        let message = told["message"].as_str().unwrap_or_default();
        ensure!(status >= 400 && self.parts.iter().all(|p| message.contains(p)), "{run:?}: {status} {body}");
        let out = docker(d, &run)?.output()?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.code() == Some(self.codes.1), "docker {run:?}: {:?} {said}", out.status);
        ensure!(self.parts.iter().all(|p| said.contains(p)), "docker {run:?}: {said}");
        Ok(())
    }
}

/// An ELF program for a machine; with a loader that it names, or without a part that could run.
fn elf(machine: u16, loader: &str) -> Vec<u8> {
    let mut out = vec![0; 4096];
    out[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    out[16..18].copy_from_slice(&2u16.to_le_bytes());
    out[18..20].copy_from_slice(&machine.to_le_bytes());
    out[20] = 1;
    out[32] = 64;
    for (at, value) in [(52, 64u16), (54, 56), (56, u16::from(!loader.is_empty()))] {
        out[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    // PT_INTERP
    out[64] = 3;
    for (at, value) in [(72, 120u64), (96, loader.len() as u64 + 1), (104, loader.len() as u64 + 1)] {
        out[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    out[120..120 + loader.len()].copy_from_slice(loader.as_bytes());
    out
}

/// This machine's number in an ELF program.
const NATIVE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
const RISC_V: u16 = 243;

/// A directory of programs that can't be run, and one that can.
fn odd_programs(dir: &Path) -> Result<String> {
    std::fs::create_dir_all(dir)?;
    let put = |name: &str, bytes: &[u8], mode| -> Result<()> {
        std::fs::write(dir.join(name), bytes)?;
        Ok(std::fs::set_permissions(dir.join(name), PermissionsExt::from_mode(mode))?)
    };
    put("works", b"#!/bin/sh\necho works\n", 0o755)?;
    put("closed", b"#!/bin/sh\necho works\n", 0o644)?;
    put("nopy", b"#!/usr/bin/nopy\nprint()\n", 0o755)?;
    put("crlf", b"#!/bin/sh\r\necho no\r\n", 0o755)?;
    put("text", b"no magic here\n", 0o755)?;
    put("loader", &elf(NATIVE, "/lib64/no-loader.so.1"), 0o755)?;
    put("foreign", &elf(RISC_V, ""), 0o755)?;
    Ok(format!("{}:/s", dir.display()))
}

fn programs(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    let volume = odd_programs(&d.dir.path().join("odd"))?;
    // /dev/shm is mounted noexec, and joined without a mount of its own.
    let donor = ["run", "-d", "--ipc", "shareable", "--name", "donor", "-v", &volume, "busybox", "sleep", "1000"];
    d.ok(&donor)?;
    d.ok(&["exec", "donor", "cp", "/s/works", "/bin/busybox", "/dev/shm"])?;
    let missing = "executable file not found in $PATH";
    let (found, denied, format) = ((127, 127), (126, 126), (126, 125));
    for (program, cause, codes, parts) in [
        ("nope", "program-missing", found, &["\"nope\"", missing][..]),
        ("/nope", "program-missing", found, &["stat /nope: no such file or directory"]),
        ("/etc/passwd/x", "program-missing", (127, 125), &["/etc/passwd/x", "not a directory"]),
        ("-p", "flag-after-image", found, &["\"-p\"", missing, "put flags before the image"]),
        (
            "/s/nopy",
            "interpreter-missing",
            found,
            &["no such file or directory: its interpreter \"/usr/bin/nopy\" is not"],
        ),
        (
            "/s/loader",
            "interpreter-missing",
            found,
            &["its interpreter \"/lib64/no-loader.so.1\" is not in the container"],
        ),
        ("/s/crlf", "windows-line-ends", found, &["no such file or directory", "ends in CR LF", "dos2unix"]),
        ("/s/closed", "not-executable", denied, &["\"/s/closed\": permission denied"]),
        ("/s", "is-a-directory", denied, &["\"/s\": is a directory"]),
        ("/s/foreign", "wrong-architecture", format, &["exec format error: it is built for riscv64, this machine is"]),
        ("/s/text", "not-a-program", format, &["exec format error: it is no ELF program, and has no #! line"]),
        ("/dev/shm/works", "noexec-mount", denied, &["permission denied: /dev/shm is mounted noexec"]),
        ("/dev/shm/busybox", "noexec-mount", denied, &["permission denied: /dev/shm is mounted noexec"]),
    ] {
        let words = ["-v", &volume, "--ipc", "container:donor", "busybox", program, "80:80"];
        Row { words: &words, cause, codes, parts }.check(&d)?;
    }
    // The lawful twins.
    ensure!(d.ok(&["run", "--rm", "-v", &volume, "busybox", "/s/works"])? == "works");
    ensure!(d.ok(&["run", "--rm", "-v", &volume, "-p", "80:80", "busybox", "sh", "/dev/../s/works"])? == "works");
    ensure!(d.ok(&["run", "--rm", "--ipc", "container:donor", "busybox", "sh", "/dev/shm/works"])? == "works");
    ensure!(d.ok(&["ps", "-aq"])?.lines().count() == 1, "only the donor is left");
    Ok(())
}

fn of_exec(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let volume = odd_programs(&d.dir.path().join("odd"))?;
    d.ok(&["run", "-d", "--name", "up", "-v", &volume, "busybox", "sleep", "1000"])?;
    for (program, code, cause, part) in [
        ("nope", 127, "program-missing", "executable file not found in $PATH"),
        ("/s/crlf", 127, "windows-line-ends", "ends in CR LF"),
        ("/s/loader", 127, "interpreter-missing", "/lib64/no-loader.so.1"),
        ("/s/closed", 126, "not-executable", "permission denied"),
        ("/s/foreign", 126, "wrong-architecture", "it is built for riscv64"),
    ] {
        let said = d.cli(&["exec", "up", program])?;
        ensure!(said.code == code && (said.err.clone() + &said.out).contains(part), "exec {program}: {said:?}");
        let said = d.cli(&["exec", "-d", "up", program])?;
        ensure!(said.code == code && said.err.contains(part), "exec -d {program}: {said:?}");
        let body = json!({ "Cmd": [program] }).to_string();
        let (_, _, made) = d.http("POST", "/containers/up/exec", &body)?;
        let made: Value = serde_json::from_str(&made)?;
        let id = made["Id"].as_str().context("no id")?;
        let (status, _, told) = d.http("POST", &format!("/exec/{id}/start"), r#"{"Detach":true}"#)?;
        ensure!(serde_json::from_str::<Value>(&told)?["cause"] == cause, "{program}: {status} {told}");
    }
    ensure!(d.ok(&["exec", "up", "/s/works"])? == "works");
    Ok(())
}

fn users_and_groups(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.daemon()?;
    let codes = (125, 125);
    for (flag, user, cause, part) in [
        ("-u", "rot", "user-missing", "unable to find user rot: no matching entries in passwd file"),
        ("-u", "rot", "user-missing", "did you mean root?"),
        ("-u", "root:rot", "group-missing", "unable to find group rot: no matching entries in group file"),
        ("--group-add", "rot", "group-missing", "unable to find group rot"),
    ] {
        Row { words: &[flag, user, "busybox", "true"], cause, codes, parts: &[part] }.check(&d)?;
    }
    d.ok(&["run", "--rm", "-u", "root:root", "--group-add", "root", "busybox", "true"])?;
    Ok(())
}

/// Ended with the test.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ports(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    let id = d.ok(&["run", "-d", "--name", "holder", "-p", "8090:80", "busybox", "sleep", "1000"])?;
    let by = format!("by container {} (holder)", &id[..12]);
    let failed = "Bind for 0.0.0.0:8090 failed: port is already allocated";
    let words = ["-p", "8090:80", "busybox", "true"];
    Row { words: &words, cause: "port-taken", codes: (125, 125), parts: &[failed, &by] }.check(&d)?;
    // Two programs with one port, at two addresses: this one, and one that has the other's socket open.
    let bind = |address: &str| d.net.within(|| TcpListener::bind(address));
    let _mine = bind("127.0.0.1:8091")??;
    let theirs = Stdio::from(std::os::fd::OwnedFd::from(bind("127.0.0.2:8091")??));
    let other = Other(Command::new("sleep").arg("1000").stdin(theirs).spawn()?);
    until("the other program", || {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", other.0.id()))?;
        Ok((name == "sleep\n").then_some(()))
    })?;
    let this = std::fs::read_to_string("/proc/self/comm")?;
    for (address, holder) in [
        ("127.0.0.1", format!("by {} (process {})", this.trim_end(), std::process::id())),
        ("127.0.0.2", format!("by sleep (process {})", other.0.id())),
    ] {
        let port = format!("{address}:8091:80");
        let failed = format!("failed to bind host port {address}:8091/tcp: address already in use");
        let words = ["-p", &port, "busybox", "true"];
        Row { words: &words, cause: "port-taken", codes: (125, 125), parts: &[&failed, &holder] }.check(&d)?;
    }
    d.ok(&["run", "--rm", "-p", "127.0.0.3:8091:80", "busybox", "true"])?;
    drop(other);
    d.ok(&["run", "--rm", "-p", "127.0.0.2:8091:80", "busybox", "true"])?;
    Ok(())
}

fn names(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    let id = d.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"])?;
    let words = format!("The container name \"/web\" is already in use by container \"{id}\"");
    for (command, code) in [("create", 1), ("run", 125)] {
        let line = [command, "--name", "web", "busybox", "true"];
        d.cli(&line)?
            .fails(code, &[&words, "It is running.", "`dhow rm -f web` removes it", "--name takes another"])?;
        let out = docker(&d, &line)?.output()?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.code() == Some(code) && said.contains(&words), "docker {line:?}: {:?} {said}", out.status);
    }
    let (status, _, body) = d.http("POST", "/containers/create?name=web", r#"{"Image":"busybox"}"#)?;
    ensure!(status == 409 && body.contains(r#""cause":"name-taken""#), "{status} {body}");
    d.ok(&["create", "--name", "web2", "busybox"])?;
    d.cli(&["rename", "web2", "web"])?.fails(1, &[&words])?;
    let (status, _, body) = d.http("POST", "/containers/web2/rename?name=web", "")?;
    ensure!(status == 409 && body.contains(r#""cause":"name-taken""#), "{status} {body}");
    d.ok(&["rm", "-f", "web"])?;
    d.ok(&["rename", "web2", "web"])?;
    Ok(())
}

fn what_is_missing(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for (method, path, body, status, cause) in [
        ("GET", "/containers/nope/json", "", 404, "container-missing"),
        ("POST", "/containers/nope/start", "", 404, "container-missing"),
        ("GET", "/images/nope/json", "", 404, "image-missing"),
        ("POST", "/containers/create", r#"{"Image":"nope"}"#, 404, "image-missing"),
        ("GET", "/networks/nope", "", 404, "not-found"),
        ("POST", "/containers/create", "{", 400, "invalid"),
        ("POST", "/build", "", 501, "not-supported"),
        ("GET", "/nope", "", 404, "not-found"),
    ] {
        let (got, _, text) = d.http(method, path, body)?;
        let told: Value = serde_json::from_str(&text)?;
        ensure!(got == status && told["cause"] == cause, "{method} {path}: {got} {text}");
    }
    Ok(())
}

/// A daemon that makes a container and then says this to its start.
fn answers(listener: &UnixListener, error: &Value) -> Result<()> {
    for stream in listener.incoming().take(2) {
        let mut stream = BufReader::new(stream?);
        while let Some((path, to)) = request(&mut stream)? {
            let (status, body) = match () {
                () if path.contains("/create") => ("201 Created", json!({ "Id": "0123456789ab", "Warnings": [] })),
                () => ("400 Bad Request", error.clone()),
            };
            let body = body.to_string();
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
            (&to).write_all(format!("{head}\r\n{body}").as_bytes())?;
        }
    }
    Ok(())
}

/// A request's line, when all of it was read, and where to answer; `None` at the end.
pub(super) fn request(stream: &mut BufReader<UnixStream>) -> Result<Option<(String, UnixStream)>> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
        if first.is_empty() {
            first = line;
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    Ok(Some((first, stream.get_ref().try_clone()?)))
}

fn codes_go_by_cause_else_by_words(w: &World) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let said = |message: &str, cause: Option<&str>| match cause {
        Some(cause) => json!({ "message": message, "cause": cause }),
        None => json!({ "message": message }),
    };
    for (n, (message, cause, code)) in [
        // As dockerd says it.
        ("exec: \"x\": executable file not found in $PATH: unknown", None, 127),
        ("exec: \"/x\": stat /x: no such file or directory: unknown", None, 127),
        ("exec: \"/x\": permission denied: unknown", None, 126),
        ("exec: \"/x\": is a directory: unknown", None, 126),
        ("exec /x: exec format error", None, 125),
        ("something else", None, 125),
        // As dhow says it, whatever the words.
        ("exec /x: exec format error", Some("wrong-architecture"), 126),
        ("something else", Some("program-missing"), 127),
        ("open /dev/x: no such file or directory", Some("invalid"), 125),
        ("bind: permission denied", Some("port-taken"), 125),
        // A word of a newer dhow.
        ("exec: \"/x\": permission denied", Some("of-tomorrow"), 126),
    ]
    .into_iter()
    .enumerate()
    {
        let socket = dir.path().join(format!("{n}.sock"));
        let listener = UnixListener::bind(&socket)?;
        let error = said(message, cause);
        let mut command = Command::new(&w.setup.dhow);
        command.args(["-H", &format!("unix://{}", socket.display()), "run", "-d", "busybox", "x"]);
        std::thread::spawn(move || answers(&listener, &error));
        let out = command.stdin(Stdio::null()).output()?;
        let told = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.code() == Some(code), "{message} {cause:?}: {:?} {told}", out.status);
        ensure!(told.contains(message), "{told}");
    }
    Ok(())
}

/// A log that can't be read to its end is a failure of `logs`, as with Docker's client.
fn a_daemons_error_in_a_log(w: &World) -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (frames, code) in
        [(&[(1, "fine\n"), (3, "read the log: it is damaged\n"), (1, "never\n")][..], 1), (&[(1, "fine\n")], 0)]
    {
        let socket = dir.path().join(format!("{code}.sock"));
        let listener = UnixListener::bind(&socket)?;
        let mut body = Vec::new();
        for (stream, text) in frames {
            body.extend([*stream, 0, 0, 0]);
            body.extend((text.len() as u32).to_be_bytes());
            body.extend(text.as_bytes());
        }
        let log = body.clone();
        std::thread::spawn(move || -> Result<()> {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream?);
                while let Some((path, mut to)) = request(&mut stream)? {
                    let (kind, body) = match () {
                        () if path.contains("/logs") => ("application/vnd.docker.multiplexed-stream", log.clone()),
                        // Docker's client asks whether anybody is there.
                        () if path.starts_with("HEAD") => ("text/plain", Vec::new()),
                        () => ("application/json", br#"{"Id":"0123456789ab","Config":{"Tty":false}}"#.to_vec()),
                    };
                    let length = body.len();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
                    to.write_all(head.as_bytes())?;
                    to.write_all(&body)?;
                }
            }
            Ok(())
        });
        let host = format!("unix://{}", socket.display());
        let mut clients = vec![Command::new(&w.setup.dhow)];
        if needs_docker_28().is_ok() {
            clients.push(Command::new("docker"));
        }
        for mut client in clients {
            client.args(["-H", &host, "logs", "x"]).env("DOCKER_API_VERSION", "1.44").stdin(Stdio::null());
            let out = client.output()?;
            let said = String::from_utf8_lossy(&out.stderr);
            ensure!(out.status.code() == Some(code) && out.stdout == b"fine\n", "{client:?}: {:?} {said}", out.status);
            let told = said.trim_end() == "error from daemon in stream: read the log: it is damaged";
            ensure!(told == (code == 1), "{client:?}: {said}");
        }
    }
    Ok(())
}
