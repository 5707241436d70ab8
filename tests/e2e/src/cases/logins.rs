//! `login`, `logout` and `search`: what is asked, what is kept and where, and that Docker's client knows the same logins.

use super::clients::{docker, docker_ok, needs_docker_28};
use super::registry_cli::{Client, basic, helper};
use crate::daemon::{Daemon, fed, until};
use crate::pty::Terminal;
use crate::registry::{Kind, Registry, USER};
use crate::runner::World;
use crate::wire::{Reply, Server};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;

super::cases!("logins":
    there_and_back, a_helper_keeps_them, asked_for_on_a_terminal, an_interrupted_question_leaves_the_terminal,
    docker_knows_the_same_logins, tokens_take_the_passwords_place, searches,
);

/// A registry's name for one of the images here, with a password.
fn private(d: &Daemon) -> Result<(Registry, String)> {
    let r = Registry::start(d, Kind::BASIC)?;
    let name = r.name("mine/box");
    d.ok(&["tag", "busybox", &name])?;
    Ok((r, name))
}

fn config(c: &Client<'_>) -> Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(c.config())?)?)
}

fn there_and_back(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let (r, name) = private(&d)?;
    c.run(&["push", &name])?.fails(1, &["mine/box"])?;
    let (user, password) = USER;
    // A wrong one is not kept.
    c.run(&["login", "-u", user, "-p", "wrong", &r.host()])?.fails(1, &["Error response from daemon", "401"])?;
    ensure!(!c.config().exists(), "a login that failed was kept");

    let login =
        fed(c.command(&["login", "-u", user, "--password-stdin", &r.host()]), format!("{password}\n").as_bytes())?;
    ensure!(login.code == 0 && login.out == "Login Succeeded\n", "{login:?}");
    let warning = format!("WARNING! Your credentials are stored unencrypted in '{}'.", c.config().display());
    ensure!(login.err.contains(&warning) && !login.err.contains("insecure"), "{}", login.err);
    ensure!(config(&c)? == json!({"auths": {r.host(): {"auth": basic(user, password)}}}), "{}", config(&c)?);
    ensure!(std::fs::metadata(c.config())?.permissions().mode() & 0o777 == 0o600);
    c.ok(&["push", &name])?;
    c.ok(&["rmi", &name])?;
    c.ok(&["pull", "-q", &name])?;

    // What is known is tried first; -p warns.
    let again = c.run(&["login", &format!("https://{}/v2/", r.host())])?;
    let known = format!("Authenticating with existing credentials... [Username: {user}]");
    ensure!(again.code == 0 && again.out == "Login Succeeded\n" && again.err.contains(&known), "{again:?}");
    let warned = c.run(&["login", "-u", user, "-p", password, &r.host()])?;
    let insecure = "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n";
    ensure!((warned.code, &*warned.err) == (0, insecure), "{warned:?}");

    // One goes, the others and all settings stay.
    let other = json!({"auths": {"other": {"auth": basic("a", "b")}, r.host(): {"auth": basic(user, password)},
        format!("http://{}", r.host()): {"auth": basic("old", "one")}}, "mine": {"z": 1}});
    c.configure(&other)?;
    ensure!(c.ok(&["logout", &r.host()])? == format!("Removing login credentials for {}", r.host()));
    ensure!(config(&c)? == json!({"auths": {"other": {"auth": basic("a", "b")}}, "mine": {"z": 1}}), "{}", config(&c)?);
    c.ok(&["logout", &r.host()])?;
    c.run(&["push", &name])?.fails(1, &["mine/box"])?;
    // Hub's, whatever it is called.
    c.configure(&json!({"auths": {"https://index.docker.io/v1/": {"auth": basic("a", "b")}}}))?;
    ensure!(c.ok(&["logout", "docker.io"])? == "Removing login credentials for https://index.docker.io/v1/");
    ensure!(config(&c)? == json!({"auths": {}}));

    // A file that can't be read is not written over.
    std::fs::write(c.config(), "{nonsense")?;
    c.run(&["login", "-u", user, "-p", password, &r.host()])?
        .fails(1, &["Error saving credentials", "mend or remove it"])?;
    ensure!(std::fs::read_to_string(c.config())? == "{nonsense");
    ensure!(!d.log().contains(&format!("\"{password}\"")) && !d.log().contains(&basic(user, password)), "{}", d.log());
    Ok(())
}

fn a_helper_keeps_them(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let (r, name) = private(&d)?;
    let (user, password) = USER;
    let bin = d.dir.path().join("bin");
    std::fs::create_dir(&bin)?;
    helper(&bin, "kept")?;
    c.configure(&json!({"credsStore": "kept"}))?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let run = |words: &[&str]| {
        let mut command = c.command(words);
        command.env("PATH", &path);
        fed(command, password.as_bytes())
    };
    let login = run(&["login", "-u", user, "--password-stdin", &r.host()])?;
    ensure!((login.code, &*login.out, &*login.err) == (0, "Login Succeeded\n", ""), "{login:?}");
    ensure!(config(&c)? == json!({"auths": {r.host(): {}}, "credsStore": "kept"}), "{}", config(&c)?);
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(bin.join(r.host()))?)?;
    ensure!(kept == json!({"ServerURL": r.host(), "Username": user, "Secret": password}), "{kept}");
    ensure!(run(&["push", &name])?.code == 0);
    ensure!(run(&["logout", &r.host()])?.code == 0);
    ensure!(config(&c)? == json!({"auths": {}, "credsStore": "kept"}) && !bin.join(r.host()).exists());
    run(&["push", &name])?.fails(1, &["mine/box"])?;
    // The usual one is found where nothing is set down, and written down.
    helper(&bin, "secretservice")?;
    helper(&bin, "pass")?;
    std::fs::remove_file(c.config())?;
    ensure!(run(&["login", "-u", user, "--password-stdin", &r.host()])?.code == 0);
    let store = config(&c)?["credsStore"].clone();
    ensure!(store == "secretservice" || store == "pass", "{}", config(&c)?);
    ensure!(bin.join(r.host()).exists() && config(&c)?["auths"] == json!({r.host(): {}}));
    Ok(())
}

fn asked_for_on_a_terminal(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let (r, _) = private(&d)?;
    let (user, password) = USER;
    let mut t = Terminal::spawn(c.command(&["login", &r.host()]), 24, 80)?;
    t.expect("Username: ")?;
    ensure!(t.echoes()?, "the name is not shown");
    t.send(format!("{user}\r").as_bytes())?;
    t.expect("Password: ")?;
    ensure!(!t.echoes()?, "the password is shown");
    t.send(format!("{password}\r").as_bytes())?;
    t.expect("Login Succeeded")?;
    let (code, seen) = t.wait()?;
    ensure!(code == 0 && seen.matches(password).count() == 0, "{code} {seen}");
    // What is known no longer holds: its name is offered.
    c.configure(&json!({"auths": {r.host(): {"auth": basic(user, "old")}}}))?;
    let mut t = Terminal::spawn(c.command(&["login", &r.host()]), 24, 80)?;
    t.expect("Stored credentials invalid or expired")?;
    t.expect(&format!("Username ({user}): "))?;
    t.send(b"\r")?;
    t.expect("Password: ")?;
    t.send(format!("{password}\r").as_bytes())?;
    t.expect("Login Succeeded")?;
    ensure!(t.wait()?.0 == 0);
    for (answers, words) in [(&["", ""][..1], "Non-null Username Required"), (&["me", ""], "Password Required")] {
        let mut t = Terminal::spawn(c.command(&["login", "nowhere.example.com"]), 24, 80)?;
        for (question, answer) in ["Username: ", "Password: "].iter().zip(answers) {
            t.expect(question)?;
            t.send(format!("{answer}\r").as_bytes())?;
        }
        t.expect(words)?;
        ensure!(t.wait()?.0 == 1);
    }
    Ok(())
}

fn an_interrupted_question_leaves_the_terminal(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let mut t = Terminal::spawn(c.command(&["login", "-u", "me", "nowhere.example.com"]), 24, 80)?;
    t.expect("Password: ")?;
    ensure!(!t.echoes()?, "the password is shown");
    t.interrupt()?;
    until("the terminal to be as it was", || Ok(t.echoes()?.then_some(())))?;
    ensure!(t.wait()?.0 == 130);
    Ok(())
}

fn docker_knows_the_same_logins(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let (r, name) = private(&d)?;
    let (user, password) = USER;
    let theirs = |words: &[&str]| -> Result<std::process::Command> {
        let mut command = docker(&d, words)?;
        command.env("DOCKER_CONFIG", c.config().parent().context("no folder")?);
        Ok(command)
    };
    let ours = c.run(&["login", "-u", user, "-p", password, &r.host()])?;
    let by_us = std::fs::read_to_string(c.config())?;
    ensure!(ours.code == 0 && theirs(&["push", &name])?.output()?.status.success(), "{ours:?}");
    ensure!(theirs(&["logout", &r.host()])?.output()?.status.success());
    c.run(&["push", &name])?.fails(1, &["mine/box"])?;
    std::fs::remove_file(c.config())?;
    let said = theirs(&["login", "-u", user, "-p", password, &r.host()])?.output()?;
    // The same words, and the same file.
    ensure!(said.status.success() && String::from_utf8_lossy(&said.stdout) == ours.out, "{said:?}");
    ensure!(String::from_utf8_lossy(&said.stderr) == ours.err, "{said:?}\n{}", ours.err);
    ensure!(std::fs::read_to_string(c.config())? == by_us, "{by_us}");
    c.ok(&["push", &name])?;
    Ok(())
}

fn tokens_take_the_passwords_place(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let r = Registry::start(&d, Kind::TOKEN)?;
    let (user, password) = USER;
    let name = r.name("mine/box");
    d.ok(&["tag", "busybox", &name])?;
    let login = fed(c.command(&["login", "-u", user, "--password-stdin", &r.host()]), password.as_bytes())?;
    ensure!(login.code == 0, "{login:?}");
    let entry = config(&c)?["auths"][r.host()].clone();
    ensure!(entry["identitytoken"].as_str().is_some_and(|t| !t.is_empty()), "{entry}");
    ensure!(entry["auth"] == basic(user, "") && !login.err.contains("unencrypted"), "{entry} {}", login.err);
    c.ok(&["push", &name])?;
    Ok(())
}

fn searches(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let s = Server::start(&d.net, |request| {
        if request.path != "/v1/search" {
            return Reply::new(if request.path == "/v1/_ping" { 200 } else { 404 }, "{}").into();
        }
        let rows = json!([
            {"name": "some/box", "description": "all that is\nneeded, and much more that nobody will ever need at all", "star_count": 1234, "is_official": false},
            {"name": "box", "description": "", "star_count": 0, "is_official": true},
        ]);
        let text = json!({"query": "box", "num_results": 2, "results": rows}).to_string();
        Reply::new(200, text).with("content-type", "application/json").into()
    })?;
    let term = format!("{}/box", s.host());
    for words in [
        &["search", &*term][..],
        &["search", "--no-trunc", "--limit", "7", &term],
        &["search", "--format", "{{.Name}}: {{.StarCount}} {{.IsOfficial}}", &term],
        &["search", "--format", "json", &term],
        &["search", "--format", "table {{.IsOfficial}}\t{{.Name}}", &term],
        &["search", "-f", "stars=3", &term],
    ] {
        let ours = c.ok(words)?;
        ensure!(docker_ok(&d, words)?.trim_end() == ours && ours.contains("box"), "{words:?}\n{ours}");
    }
    c.run(&["search", "-f", "colour=red", &term])?.fails(1, &["invalid filter 'colour'"])?;
    Ok(())
}
