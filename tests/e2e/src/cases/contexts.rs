//! `context`, the options before the command, and what `config.json` says: Docker's client and dhow do the same with
//! one store, and see what the other has made.

use super::clients::{docker, needs_docker_28};
use crate::daemon::Daemon;
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

super::cases!(
    "contexts": both_clients_say_the_same, each_uses_what_the_other_made, what_is_told_and_sent, nothing_leads_out_of_a_context
);

/// Lines of one after the other: the store at each is what those before left.
const LINES: &[&str] = &[
    "-H unix:///q -H unix:///w ps",
    "-H unix:///q -c b ps",
    "-l nope ps",
    "--debug=maybe ps",
    "-c nope ps",
    "-H unix:///q context ls",
    "-H unix:///q context inspect",
    "-H unix:///q context inspect -f json",
    "context inspect nope",
    "context inspect -f {{.Nope}}",
    "context inspect -f {{.Nope",
    "context show",
    "context use nope",
    "context use default",
    "context create x --docker host=unix:///w",
    "context create a:b",
    "context create default",
    "context create yy --docker host=unix:///nonexistent.sock --description Hi<&>",
    "context create yy",
    "context use yy",
    "-H unix:///q context ls",
    "context ls -q",
    "-c yy context ls --format {{.Name}}|{{.Current}}|{{.Error}}",
    "ps",
    "context inspect yy",
    "context inspect yy nope -f {{.Name}}|{{.Endpoints.docker.Host}}|{{.TLSMaterial}}",
    "context create zz --from yy",
    "context create q10 --from yy",
    "context create q9 --from nope",
    "context create z2 --docker foo=1",
    "context create z2 --docker foo",
    "context create z2 --docker host=unix:///x --from yy",
    "context create z2 --docker host=unix:///x,skip-tls-verify=maybe",
    "context create d3 --docker from=yy",
    "context create d4 --docker from=nope",
    "context update yy --description ho",
    "context update nope --description ho",
    "context update default",
    "context update zz --docker host=unix:///other",
    "context export yy yy.tar",
    "context export yy yy.tar",
    "context export nope",
    "context import ii yy.tar",
    "context import ii yy.tar",
    "context import kk /nope",
    "-H unix:///q context ls --format json",
    "context rm yy",
    "context rm nope",
    "context rm default",
    "context rm -f nope",
    "context rm nope default zz",
    "context rm -f yy",
    "context show",
    "-H unix:///q context ls",
    "-c nope context show",
    "-c nope context ls --format {{.Name}}|{{.Error}}",
    "context nope",
    "context ls x",
    "context create",
    "context rm",
    "-c ii version -f {{.Client.Context}}",
];

/// A command of one of the two, with this folder of settings and no host in its surroundings.
fn client(d: &Daemon, by_docker: bool, words: &[&str], settings: &Path) -> Result<Command> {
    let mut command = if by_docker { docker(d, words)? } else { d.command(words) };
    for name in ["DOCKER_HOST", "DHOW_HOST", "DOCKER_CONTEXT"] {
        command.env_remove(name);
    }
    command.env("DOCKER_CONFIG", settings).env("DOCKER_API_VERSION", "1.50").current_dir(d.dir.path());
    Ok(command)
}

/// Its exit code, and all it said.
fn said(mut command: Command) -> Result<String> {
    let out = command.stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("Docker", "dhow").replace("docker", "dhow");
    Ok(format!("{}\n{}{}", out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr)))
}

fn both_clients_say_the_same(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    // One place for both, so that paths are the same.
    let settings = d.dir.path().join("settings");
    let run = |by_docker: bool| -> Result<Vec<String>> {
        let _ = std::fs::remove_dir_all(&settings);
        let _ = std::fs::remove_file(d.dir.path().join("yy.tar"));
        LINES.iter().map(|line| said(client(&d, by_docker, &line.split(' ').collect::<Vec<_>>(), &settings)?)).collect()
    };
    let (theirs, ours) = (run(true)?, run(false)?);
    let rows = LINES.iter().zip(theirs.iter().zip(&ours));
    let wrong: Vec<String> = rows
        .filter(|(_, (theirs, ours))| theirs != ours)
        .map(|(line, (theirs, ours))| format!("{line}\n--- docker {theirs}--- dhow {ours}"))
        .collect();
    ensure!(wrong.is_empty(), "{} of {} lines:\n{}", wrong.len(), LINES.len(), wrong.join("\n"));
    Ok(())
}

fn each_uses_what_the_other_made(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    d.ok(&["create", "--name", "seen", "busybox", "true"])?;
    let host = format!("host={}", d.host());
    for made_by_docker in [true, false] {
        let settings = tempfile::tempdir_in(d.dir.path())?;
        let settings = settings.path();
        // Settings of others stay as they are, spelling and all.
        let before = "{\n  \"proxies\": {\"default\": {\"httpProxy\": \"http://p:1\"}},\n\t\"z\":   1.50 }";
        std::fs::write(settings.join("config.json"), before)?;
        let ok = |by_docker: bool, words: &[&str]| -> Result<String> {
            let out = said(client(&d, by_docker, words, settings)?)?;
            ensure!(out.starts_with("0\n"), "{words:?} by docker={by_docker}: {out}");
            Ok(out)
        };
        ok(made_by_docker, &["context", "create", "there", "--docker", &host])?;
        ok(made_by_docker, &["context", "use", "there"])?;
        let listed = ["ps", "-a", "--format", "{{.Names}}"];
        ensure!(ok(!made_by_docker, &listed)?.contains("seen"));
        ensure!(ok(!made_by_docker, &["-c", "there", "ps", "-a", "--format", "{{.Names}}"])?.contains("seen"));
        ensure!(ok(!made_by_docker, &["context", "show"])? == "0\nthere\n");
        if !made_by_docker {
            let text = std::fs::read_to_string(settings.join("config.json"))?;
            ensure!(
                text.contains("\"z\": 1.50") && text.contains("{\"default\": {\"httpProxy\": \"http://p:1\"}}"),
                "{text}"
            );
            // A container of this client is told of the proxy, as one of Docker's is.
            let told = ok(false, &["run", "--rm", "busybox", "sh", "-c", "echo $HTTP_PROXY $http_proxy"])?;
            ensure!(told.contains("http://p:1 http://p:1"), "{told}");
        }
        // The variables go before what is set down; an option goes before them.
        for by_docker in [true, false] {
            let mut command = client(&d, by_docker, &["context", "show"], settings)?;
            ensure!(
                said({
                    command.env("DOCKER_CONTEXT", "other");
                    command
                })? == "0\nother\n"
            );
            let mut command = client(&d, by_docker, &["context", "show"], settings)?;
            command.env("DOCKER_CONTEXT", "other").env("DOCKER_HOST", "unix:///nonexistent");
            ensure!(said(command)? == "0\ndefault\n");
            let mut command = client(&d, by_docker, &["-c", "there", "ps", "-aq"], settings)?;
            ensure!(
                said({
                    command.env("DOCKER_HOST", "unix:///nonexistent");
                    command
                })?
                .starts_with("0\n")
            );
        }
        let archive = settings.join("there.tar").display().to_string();
        ok(made_by_docker, &["context", "export", "there", &archive])?;
        ok(!made_by_docker, &["context", "import", "again", &archive])?;
        ensure!(ok(made_by_docker, &["-c", "again", "ps", "-a", "--format", "{{.Names}}"])?.contains("seen"));
        ok(!made_by_docker, &["context", "rm", "-f", "there"])?;
        ensure!(ok(made_by_docker, &["context", "ls", "-q"])? == "0\nagain\ndefault\n");
    }
    Ok(())
}

fn what_is_told_and_sent(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let settings = tempfile::tempdir_in(d.dir.path())?;
    let config = |text: &str| std::fs::write(settings.path().join("config.json"), text);
    let ran = |words: &[&str], variable: Option<(&str, &str)>| -> Result<(i32, String, String)> {
        let mut command = d.command(words);
        command.env("DOCKER_CONFIG", settings.path()).envs(variable);
        let out = command.output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr)))
    };
    config(
        r#"{"HttpHeaders":{"X-Team":"a"},"psFormat":"{{.Names}}!","statsFormat":"{{.Name}}!","pruneFilters":["label=gone"]}"#,
    )?;
    for words in [&["-D", "ps"][..], &["-l", "debug", "ps"]] {
        let (code, _, told) = ran(words, None)?;
        ensure!(code == 0 && told.contains("DEBUG: GET /containers/json: 200"), "{words:?}: {told}");
    }
    ensure!(ran(&["-l", "error", "ps"], None)?.2.is_empty());
    // Formats that are set down, and those that are given.
    d.ok(&["run", "-d", "--name", "up", "busybox", "sleep", "1000"])?;
    d.ok(&["create", "--name", "kept", "busybox", "true"])?;
    d.ok(&["create", "--name", "gone", "-l", "gone", "busybox", "true"])?;
    ensure!(ran(&["ps"], None)?.1 == "up!\n");
    ensure!(ran(&["ps", "--format", "{{.Names}}"], None)?.1 == "up\n");
    ensure!(ran(&["stats", "--no-stream", "up"], None)?.1 == "up!\n");
    ensure!(ran(&["container", "prune", "-f"], None)?.0 == 0);
    let left = d.ok(&["ps", "-a", "--format", "{{.Names}}"])?;
    ensure!(left.contains("kept") && !left.contains("gone"), "{left}");
    // Another folder.
    let other = tempfile::tempdir_in(d.dir.path())?;
    std::fs::write(other.path().join("config.json"), r#"{"psFormat":"other {{.Names}}"}"#)?;
    ensure!(ran(&["--config", &other.path().display().to_string(), "ps"], None)?.1 == "other up\n");
    // What can't be a header is refused, and by name.
    config(r#"{"HttpHeaders":{"X-Team":"a\r\nX-Other: b"}}"#)?;
    let (code, _, told) = ran(&["ps"], None)?;
    ensure!(code == 1 && told.contains("X-Team"), "{told}");
    config("{}")?;
    let (code, _, told) = ran(&["ps"], Some(("DOCKER_CUSTOM_HEADERS", "no-value")))?;
    ensure!(code == 1 && told.contains("missing \"=\" in key=value pair: 'no-value'"), "{told}");
    ensure!(ran(&["ps", "-q"], Some(("DOCKER_CUSTOM_HEADERS", "A=1,\"B=2,3\"")))?.0 == 0);
    // A file that is no settings file is named once, and never overwritten.
    config("{ nonsense")?;
    let (code, _, told) = ran(&["ps"], None)?;
    ensure!(code == 0 && told.matches("WARNING: Error parsing config file").count() == 1, "{told}");
    ensure!(ran(&["context", "create", "cc", "--docker", "host=unix:///x"], None)?.0 == 0);
    ensure!(ran(&["context", "use", "cc"], None)?.0 == 1);
    ensure!(std::fs::read_to_string(settings.path().join("config.json"))? == "{ nonsense");
    Ok(())
}

fn nothing_leads_out_of_a_context(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let settings = tempfile::tempdir_in(d.dir.path())?;
    let import = |name: &str, entries: &[(&str, &str)]| -> Result<(bool, String)> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // As it is: the crate's own check of paths is what an attacker has not.
            header.as_gnu_mut().context("a GNU header")?.name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, content.as_bytes())?;
        }
        let file = d.dir.path().join(format!("{name}.tar"));
        std::fs::write(&file, tar.into_inner()?)?;
        let mut command =
            client(&d, false, &["context", "import", name, &file.display().to_string()], settings.path())?;
        let out = command.output()?;
        Ok((out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned()))
    };
    let meta = ("meta.json", r#"{"Name":"x","Endpoints":{"docker":{"Host":"unix:///x"}}}"#);
    let (fine, told) = import("lawful", &[meta, ("tls/docker/ca.pem", "x")])?;
    ensure!(fine, "{told}");
    for (name, path) in [("up", "tls/../../../../evil"), ("root", "/evil"), ("deep", "tls/a/b/c"), ("flat", "tls/evil")]
    {
        let (fine, told) = import(name, &[meta, (path, "x")])?;
        ensure!(!fine, "{path} was taken: {told}");
    }
    let (fine, told) = import("none", &[("tls/docker/ca.pem", "x")])?;
    ensure!(!fine && told.contains("no metadata found"), "{told}");
    // Of those that were refused, nothing is left.
    let left = said(client(&d, false, &["context", "ls", "-q"], settings.path())?)?;
    ensure!(left == "0\ndefault\nlawful\n", "{left}");
    let mut files = Vec::new();
    let mut folders = vec![settings.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    ensure!(files.len() == 2, "{files:?}");
    Ok(())
}
