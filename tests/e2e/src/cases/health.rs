//! Health checks. What is healthy hangs on a file in the container, and states are waited for, never times.

use super::clients::{docker_ok, python};
use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

super::cases!("health":
    a_file_as_switch, last_five_and_no_more_than_fits, what_takes_too_long, of_the_image_and_of_the_request, kinds,
    whose_user_and_directory, what_is_refused, nothing_without_a_check, goes_on_after_the_daemon, stands_still_when_paused,
    ends_and_begins_with_the_run, many_at_once, docker_and_docker_py,
    restarted_when_unhealthy, what_restarts_contradict,
);

/// A container whose health hangs on `/ok`.
fn switch(d: &Daemon, more: &[&str]) -> Result<String> {
    let check = ["--health-cmd", "test -e /ok", "--health-interval", "50ms", "--health-retries", "2"];
    d.ok(&[&["run", "-d"], &check[..], more, &["busybox", "sleep", "1000"]].concat())
}

fn health(d: &Daemon, id: &str) -> Result<Value> {
    Ok(d.inspect(id)?["State"]["Health"].clone())
}

fn becomes(d: &Daemon, id: &str, status: &str) -> Result<Value> {
    let what = format!("{id} to be {status}");
    until(&what, || Ok(Some(health(d, id)?).filter(|h| h["Status"] == status)))
}

/// Waits for a check that ended after this moment began.
fn checked(d: &Daemon, id: &str) -> Result<Value> {
    let start = |h: &Value| h["Log"].as_array().and_then(|l| Some(l.last()?["Start"].clone()));
    let before = start(&health(d, id)?);
    until("two more checks", || Ok(Some(health(d, id)?).filter(|h| start(h) != before && start(h).is_some())))
}

fn listed(d: &Daemon, filter: &str) -> Result<Vec<String>> {
    let names = d.ok(&["ps", "-a", "--format", "{{.Names}}", "-f", filter])?;
    Ok(names.lines().map(str::to_owned).collect())
}

fn a_file_as_switch(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    switch(&d, &["--name", "sw"])?;
    d.ok(&["run", "-d", "--name", "later", "--health-cmd", "false", "busybox", "sleep", "1000"])?;
    d.ok(&["run", "-d", "--name", "none", "busybox", "sleep", "1000"])?;
    let row = |name: &str| d.ok(&["ps", "-a", "-f", &format!("name={name}"), "--format", "{{.Status}}"]);
    ensure!(row("later")?.ends_with(" (health: starting)") && health(&d, "later")?["Log"] == json!([]));
    let h = becomes(&d, "sw", "unhealthy")?;
    ensure!(h["FailingStreak"].as_u64() >= Some(2) && h["Log"][0]["ExitCode"] == 1, "{h}");
    ensure!(row("sw")?.ends_with(" (unhealthy)"));
    ensure!(listed(&d, "health=unhealthy")? == ["sw"] && listed(&d, "health=starting")? == ["later"]);
    ensure!(listed(&d, "health=none")? == ["none"] && listed(&d, "health=healthy")?.is_empty());
    d.ok(&["exec", "sw", "touch", "/ok"])?;
    let h = becomes(&d, "sw", "healthy")?;
    ensure!(h["FailingStreak"] == 0, "{h}");
    ensure!(row("sw")?.ends_with(" (healthy)") && listed(&d, "health=healthy")? == ["sw"]);
    let rows: Value = serde_json::from_str(&d.http("GET", "/v1.52/containers/json?all=1", "")?.2)?;
    let of =
        |name: &str| rows.as_array().into_iter().flatten().find(|r| r["Names"][0] == name).map(|r| r["Health"].clone());
    ensure!(of("/sw") == Some(json!({"Status": "healthy", "FailingStreak": 0})), "{rows}");
    ensure!(of("/none") == Some(json!({"Status": "none", "FailingStreak": 0})), "{rows}");
    let old: Value = serde_json::from_str(&d.http("GET", "/v1.51/containers/json?all=1", "")?.2)?;
    ensure!(old[0].get("Health").is_none() && old[0]["Names"].is_array(), "{old}");
    d.ok(&["exec", "sw", "rm", "/ok"])?;
    becomes(&d, "sw", "unhealthy")?;
    ensure!(d.inspect("sw")?["State"]["Status"] == "running", "nobody ends it for that");
    Ok(())
}

fn last_five_and_no_more_than_fits(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let count = "n=$(cat /n || echo 0); echo $((n+1)) > /n; echo check $n; exit $n";
    let long = "yes é | head -c 5000; echo; false";
    let run = |command: &str| {
        d.ok(&[
            "run",
            "-d",
            "--health-cmd",
            command,
            "--health-interval",
            "20ms",
            "busybox",
            "sh",
            "-c",
            "echo 1 > /n; sleep 1000",
        ])
    };
    let (counted, cut) = (run(count)?, run(long)?);
    let log = until("eight checks", || {
        let log = health(&d, &counted)?["Log"].as_array().cloned().unwrap_or_default();
        ensure!(log.len() <= 5, "{log:?}");
        Ok(log.last().is_some_and(|l| l["ExitCode"].as_i64() >= Some(8)).then_some(log))
    })?;
    let last = log[4]["ExitCode"].as_i64().context("no code")?;
    for (i, entry) in log.iter().enumerate() {
        let n = last - 4 + i as i64;
        ensure!(log.len() == 5 && entry["ExitCode"] == n && entry["Output"] == format!("check {n}\n"), "{log:?}");
        // In nanoseconds of equal length, times are ordered as texts are.
        let time = |key: &str| {
            let text = entry[key].as_str().unwrap_or_default().trim_end_matches('Z');
            let (seconds, rest) = text.split_once('.').unwrap_or((text, ""));
            format!("{seconds}.{rest:0<9}")
        };
        ensure!(
            time("Start").len() == "2000-01-01T00:00:00.000000000".len() && time("Start") <= time("End"),
            "{entry}"
        );
    }
    let h = becomes(&d, &cut, "unhealthy")?;
    let text = h["Log"][0]["Output"].as_str().context("no output")?;
    // 4096 bytes are no whole number of lines of three: nothing ends within a character.
    ensure!(text == format!("{}...", "é\n".repeat(1365)), "{} bytes: …{}", text.len(), &text[text.len() - 20..]);
    d.ok(&["rm", "-f", &counted, &cut]).map(drop)
}

fn what_takes_too_long(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let check = "echo before; sleep 1001 & sleep 1002; true";
    let flags = ["--health-interval", "20ms", "--health-timeout", "300ms", "--health-retries", "1"];
    let id = d.ok(&[&["run", "-d", "--health-cmd", check], &flags[..], &["busybox", "sleep", "1000"]].concat())?;
    let h = becomes(&d, &id, "unhealthy")?;
    let entry = &h["Log"][0];
    ensure!(entry["ExitCode"] == -1 && entry["Output"] == "Health check exceeded timeout (300ms): before\n", "{h}");
    until("five checks", || Ok(health(&d, &id)?["Log"].as_array().filter(|l| l.len() == 5).map(drop)))?;
    let left = d.ok(&["exec", &id, "sh", "-c", "ps | grep -c 'sleep 100[12]$' || true"])?;
    ensure!(left.trim().parse::<u32>()? <= 2, "checks that were ended pile up: {left}");
    // What is quicker than its time is not touched.
    let quick =
        d.ok(&["run", "-d", "--health-cmd", "true", "--health-interval", "20ms", "busybox", "sleep", "1000"])?;
    becomes(&d, &quick, "healthy")?;
    d.ok(&["rm", "-f", &id, &quick]).map(drop)
}

fn of_the_image_and_of_the_request(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["create", "--name", "base", "busybox", "sleep", "1000"])?;
    let change = "HEALTHCHECK --interval=50ms --retries=1 CMD test -e /ok";
    d.ok(&["commit", "--change", change, "base", "checked"])?;
    d.ok(&["run", "-d", "--name", "aa", "checked"])?;
    becomes(&d, "aa", "unhealthy")?;
    d.ok(&["exec", "aa", "touch", "/ok"])?;
    becomes(&d, "aa", "healthy")?;
    d.ok(&["run", "-d", "--name", "bb", "--health-retries", "9", "--health-start-period", "1h", "checked"])?;
    let config = d.inspect("bb")?["Config"]["Healthcheck"].clone();
    ensure!(
        config
            == json!({"Test": ["CMD-SHELL", "test -e /ok"], "Interval": 50_000_000, "StartPeriod": 3_600_000_000_000u64, "Retries": 9}),
        "{config}"
    );
    checked(&d, "bb")?;
    d.ok(&["run", "-d", "--name", "cc", "--no-healthcheck", "checked"])?;
    ensure!(health(&d, "cc")?.is_null() && listed(&d, "health=none")?.contains(&"cc".to_owned()));
    ensure!(!d.ok(&["ps", "-f", "name=cc", "--format", "{{.Status}}"])?.contains('('));
    Ok(())
}

/// Makes and starts a container with this check.
fn with_test(d: &Daemon, test: Value, more: Value) -> Result<String> {
    let mut body = json!({
        "Image": "busybox", "Cmd": ["sleep", "1000"],
        "Healthcheck": {"Test": test, "Interval": 50_000_000, "Retries": 1},
    });
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    let (status, _, answer) = d.http("POST", "/containers/create", &body.to_string())?;
    ensure!(status == 201, "{status} {answer}");
    let id = serde_json::from_str::<Value>(&answer)?["Id"].as_str().context("no id")?.to_owned();
    ensure!(d.http("POST", &format!("/containers/{id}/start"), "")?.0 == 204);
    Ok(id)
}

fn kinds(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let words = with_test(&d, json!(["CMD", "echo", "a  b", "$HOME"]), json!({}))?;
    ensure!(becomes(&d, &words, "healthy")?["Log"][0]["Output"] == "a  b $HOME\n");
    let shell = with_test(&d, json!(["CMD-SHELL", "echo out; echo err >&2; echo $0"]), json!({}))?;
    ensure!(becomes(&d, &shell, "healthy")?["Log"][0]["Output"] == "out\nerr\n/bin/sh\n");
    let own = with_test(&d, json!(["CMD-SHELL", "x"]), json!({"Shell": ["/bin/echo", "own shell:"]}))?;
    ensure!(becomes(&d, &own, "healthy")?["Log"][0]["Output"] == "own shell: x\n");
    let missing = with_test(&d, json!(["CMD", "/no/such"]), json!({}))?;
    let h = becomes(&d, &missing, "unhealthy")?;
    let said = h["Log"][0]["Output"].as_str().unwrap_or_default();
    ensure!(h["Log"][0]["ExitCode"] == -1 && said.contains("/no/such"), "{h}");
    let none = with_test(&d, json!(["NONE"]), json!({}))?;
    ensure!(health(&d, &none)?.is_null());
    // Checks are no execs of somebody's.
    ensure!(d.inspect(&words)?["ExecIDs"].is_null());
    d.ok(&["rm", "-f", &words, &shell, &own, &missing, &none]).map(drop)
}

fn whose_user_and_directory(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let more = json!({"User": "1234:99", "WorkingDir": "/tmp", "Env": ["MINE=yes"]});
    let id = with_test(&d, json!(["CMD-SHELL", "echo $(id -u):$(id -g) $PWD $MINE; cat"]), more)?;
    ensure!(becomes(&d, &id, "healthy")?["Log"][0]["Output"] == "1234:99 /tmp yes\n");
    d.ok(&["rm", "-f", &id]).map(drop)
}

fn what_is_refused(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for (check, text) in [
        (json!({"Interval": 999_999}), "Interval in Healthcheck cannot be less than 1ms"),
        (json!({"Timeout": -1}), "Timeout in Healthcheck cannot be less than 1ms"),
        (json!({"StartPeriod": 1}), "StartPeriod in Healthcheck cannot be less than 1ms"),
        (json!({"StartInterval": 1}), "StartInterval in Healthcheck cannot be less than 1ms"),
        (json!({"Retries": -1}), "Retries in Healthcheck cannot be negative"),
        (json!({"Test": ["curl", "x"]}), "Test in Healthcheck begins with"),
    ] {
        let body = json!({"Image": "busybox", "Cmd": ["true"], "Healthcheck": check}).to_string();
        let (status, _, answer) = d.http("POST", "/containers/create", &body)?;
        ensure!(status == 400 && answer.contains(text), "{status} {answer}");
    }
    // Before 1.44 nobody knew it.
    let body = json!({"Image": "busybox", "Cmd": ["true"], "Healthcheck": {"StartInterval": 1}}).to_string();
    let (status, _, answer) = d.http("POST", "/v1.43/containers/create", &body)?;
    ensure!(status == 201, "{answer}");
    for (flags, text) in [
        (&["--no-healthcheck", "--health-cmd", "true"][..], "--no-healthcheck conflicts with --health-* options"),
        (&["--health-interval", "-1s"], "--health-interval cannot be negative"),
        (&["--health-retries", "-1"], "--health-retries cannot be negative"),
        (&["--health-timeout", "5"], "time: missing unit in duration \"5\""),
    ] {
        d.cli(&[&["create"], flags, &["busybox", "true"]].concat())?.fails(125, &[text])?;
    }
    let made = d.cli(&["create", "--health-interval", "1s", "busybox", "true"])?;
    ensure!(made.err.contains("nothing is checked"), "{}", made.err);
    Ok(())
}

fn nothing_without_a_check(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    ensure!(health(&d, &id)?.is_null());
    let made = d.ok(&["create", "--health-cmd", "true", "busybox", "true"])?;
    ensure!(health(&d, &made)?.is_null(), "what was never started has no health");
    d.ok(&["rm", "-f", &id, &made]).map(drop)
}

fn goes_on_after_the_daemon(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let period = ["--health-start-period", "1h", "--health-start-interval", "20ms", "--health-interval", "1h"];
    d.ok(&[&["run", "-d", "--name", "well", "--health-cmd", "true"], &period[..], &["busybox", "sleep", "1000"]]
        .concat())?;
    becomes(&d, "well", "healthy")?;
    switch(&d, &["--name", "ill", "--health-retries", "100000"])?;
    let streak = || -> Result<u64> { Ok(health(&d, "ill")?["FailingStreak"].as_u64().unwrap_or(0)) };
    until("three failures", || Ok((streak()? >= 3).then_some(())))?;
    d.kill()?;
    d.up()?;
    // Docker begins anew with `starting`, and a service behind a proxy is out of it for an interval.
    ensure!(health(&d, "well")?["Status"] == "healthy");
    ensure!(health(&d, "ill")?["Status"] == "starting");
    ensure!(streak()? >= 3, "{}", health(&d, "ill")?);
    let before = streak()?;
    until("more failures", || Ok((streak()? > before).then_some(())))?;
    d.ok(&["exec", "ill", "touch", "/ok"])?;
    becomes(&d, "ill", "healthy").map(drop)
}

fn stands_still_when_paused(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    // So that a pause often comes in the middle of one.
    let slow = ["--health-cmd", "sleep 0.05; test -e /ok", "--health-interval", "5ms", "--health-retries", "2"];
    d.ok(&[&["run", "-d", "--name", "pp"], &slow[..], &["busybox", "sh", "-c", "touch /ok; sleep 1000"]].concat())?;
    switch(&d, &["--name", "other"])?;
    for _ in 0..5 {
        becomes(&d, "pp", "healthy")?;
        d.ok(&["pause", "pp"])?;
        let at = health(&d, "pp")?;
        for _ in 0..3 {
            checked(&d, "other")?;
        }
        ensure!(health(&d, "pp")? == at, "{at} and then {}", health(&d, "pp")?);
        ensure!(d.ok(&["ps", "-f", "name=pp", "--format", "{{.Status}}"])?.ends_with(" (Paused)"));
        d.ok(&["unpause", "pp"])?;
        let h = checked(&d, "pp")?;
        ensure!(h["Log"].as_array().into_iter().flatten().all(|l| l["ExitCode"] == 0), "{h}");
    }
    d.ok(&["exec", "pp", "rm", "/ok"])?;
    becomes(&d, "pp", "unhealthy").map(drop)
}

fn ends_and_begins_with_the_run(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = switch(&d, &["--health-retries", "3"])?;
    d.ok(&["exec", &id, "touch", "/ok"])?;
    becomes(&d, &id, "healthy")?;
    d.ok(&["kill", &id])?;
    until("the end", || Ok((d.inspect(&id)?["State"]["Status"] == "exited").then_some(())))?;
    let h = health(&d, &id)?;
    // Docker's clients are told so of what does not run.
    ensure!(h["Status"] == "unhealthy" && h["Log"].as_array().is_some_and(|l| !l.is_empty()), "{h}");
    d.ok(&["start", &id])?;
    becomes(&d, &id, "healthy")?;
    d.ok(&["rm", "-f", &id]).map(drop)
}

fn many_at_once(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let dir = d.root().join("shared");
    std::fs::create_dir(&dir)?;
    let bind = format!("{}:/s", dir.display());
    // Each check leaves a file while it runs, and counts those of all.
    let check = "touch /s/$HOSTNAME; sleep 0.2; ls /s 2>/dev/null | wc -l; rm /s/$HOSTNAME";
    let names: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    for name in &names {
        let flags = ["--name", name, "-v", &bind, "--health-cmd", check, "--health-interval", "1ms"];
        d.ok(&[&["run", "-d"], &flags[..], &["busybox", "sleep", "1000"]].concat())?;
    }
    for name in &names {
        becomes(&d, name, "healthy")?;
    }
    for name in &names {
        let h = checked(&d, name)?;
        for entry in h["Log"].as_array().into_iter().flatten() {
            let count: u32 = entry["Output"].as_str().unwrap_or_default().trim().parse()?;
            ensure!((1..=16).contains(&count), "{count} checks at once");
        }
    }
    Ok(())
}

fn restarted_when_unhealthy(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let count = |name: &str| Ok::<_, anyhow::Error>(d.inspect(name)?["RestartCount"].as_u64().unwrap_or(0));
    // Heeds the stop signal, so that the end is one.
    let ill = ["--health-cmd", "false", "--health-interval", "20ms", "--health-retries", "1", "--init"];
    let run = |name: &str, more: &[&str]| {
        d.ok(&[&["run", "-d", "--name", name], &ill[..], more, &["busybox", "sleep", "1000"]].concat())
    };
    run("twice", &["--restart-on", "unhealthy:2"])?;
    run("noted", &["--annotation", "dhow.restart-on=unhealthy:1"])?;
    run("never", &[])?;
    until("the last restart", || Ok((count("twice")? == 2 && count("noted")? == 1).then_some(())))?;
    for name in ["twice", "noted", "never"] {
        becomes(&d, name, "unhealthy")?;
        checked(&d, name)?;
        ensure!(d.inspect(name)?["State"]["Status"] == "running", "{name}");
    }
    ensure!((count("twice")?, count("noted")?, count("never")?) == (2, 1, 0));
    // A success in between, and it begins anew.
    let well = ["--health-cmd", "test -e /ok", "--health-interval", "20ms", "--health-retries", "1", "--init"];
    d.ok(&[&["run", "-d", "--name", "anew"], &well[..], &["--restart-on", "unhealthy:1", "busybox", "sleep", "1000"]]
        .concat())?;
    for n in 1..=2 {
        until("a restart", || Ok((count("anew")? == n).then_some(())))?;
        until("the file", || Ok(d.cli(&["exec", "anew", "touch", "/ok"])?.code.eq(&0).then_some(())))?;
        becomes(&d, "anew", "healthy")?;
        d.ok(&["exec", "anew", "rm", "/ok"])?;
    }
    // Stopped by hand, it stays so.
    d.ok(&["stop", "twice"])?;
    ensure!(d.inspect("twice")?["State"]["Status"] == "exited");
    d.ok(&["start", "twice"])?;
    until("two more restarts", || Ok((count("twice")? == 2).then_some(())))
}

fn what_restarts_contradict(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let check = ["--health-cmd", "true"];
    for (flags, text) in [
        (&["--restart-on", "unhealthy"][..], "the container has no health check (--health-cmd)"),
        (&["--restart-on", "ill", "--health-cmd", "true"], "invalid --restart-on \"ill\""),
        (&["--restart-on", "unhealthy:0", "--health-cmd", "true"], "at most N times in a row"),
        (&["--restart-on", "unhealthy", "--rm", "--health-cmd", "true"], "both --restart-on and --rm"),
    ] {
        let ran = d.cli(&[&["create"], flags, &["busybox", "true"]].concat())?;
        ensure!(ran.code != 0 && ran.err.contains(text), "{} {}", ran.code, ran.err);
    }
    let id = d.ok(&[&["create", "--restart-on", "unhealthy:3"], &check[..], &["busybox", "true"]].concat())?;
    ensure!(d.inspect(&id)?["HostConfig"]["RestartOn"] == "unhealthy:3");
    d.ok(&["rm", &id]).map(drop)
}

const PY: &str = r#"
import docker, time
c = docker.from_env()
ms = 1000 * 1000
box = c.containers.run("busybox", ["sleep", "1000"], detach=True,
                       healthcheck={"test": ["CMD", "test", "-e", "/ok"], "interval": 50 * ms, "retries": 2})
def becomes(status):
    for _ in range(3000):
        box.reload()
        if (box.attrs['State'].get('Health') or {}).get('Status') == status:
            return box.attrs["State"]["Health"]
        time.sleep(0.02)
    raise AssertionError(f"not {status}: {box.attrs['State']}")
try:
    assert becomes("unhealthy")["FailingStreak"] >= 2
    assert box.exec_run(["touch", "/ok"]).exit_code == 0
    health = becomes("healthy")
    assert health["FailingStreak"] == 0 and set(health["Log"][-1]) == {"Start", "End", "ExitCode", "Output"}, health
    assert [x.id for x in c.containers.list(filters={"health": "healthy"})] == [box.id]
finally:
    box.remove(force=True)
print("all well")
"#;

fn docker_and_docker_py(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let check = [
        "--health-cmd",
        "test -e /ok",
        "--health-interval",
        "50ms",
        "--health-retries",
        "2",
        "--health-timeout",
        "20s",
    ];
    let more = ["--health-start-period", "1ms", "--health-start-interval", "30ms", "--name", "theirs"];
    docker_ok(&d, &[&["run", "-d"], &check[..], &more[..], &["busybox", "sleep", "1000"]].concat())?;
    becomes(&d, "theirs", "unhealthy")?;
    docker_ok(&d, &["exec", "theirs", "touch", "/ok"])?;
    becomes(&d, "theirs", "healthy")?;
    ensure!(docker_ok(&d, &["inspect", "-f", "{{.State.Health.Status}}", "theirs"])? == "healthy\n");
    ensure!(
        docker_ok(&d, &["ps", "-f", "health=healthy", "--format", "{{.Names}} {{.Status}}"])?.ends_with(" (healthy)\n")
    );
    docker_ok(&d, &["rm", "-f", "theirs"])?;
    let out = python(&d)?.arg("-c").arg(PY).output()?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).trim() == "all well", "{err}");
    Ok(())
}
