//! Disk usage: Docker's tables, and a sum that is what `du` says.

use super::clients::{ageless, docker_ok, needs_docker_28, python};
use crate::daemon::{Daemon, until};
use crate::pty::Terminal;
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::process::Command;

super::cases!("df": the_sum_is_what_du_says, tables_are_dockers, a_terminal_is_told_more, versions_before_the_sums, docker_py_df);

/// Images that share a layer, containers that run and do not, logs, volumes.
fn fill(d: &Daemon) -> Result<()> {
    d.ok(&["run", "--name", "ended", "-v", "data:/d", "busybox", "sh", "-c", "yes | head -c 200000 | tee /f /d/f"])?;
    d.ok(&["commit", "ended", "child:1"])?;
    let script = "echo started; head -c 300000 /bin/busybox > /own; echo written > /ready; sleep 1000";
    d.ok(&["run", "-d", "--name", "runs", "-v", "/anonymous", "child:1", "sh", "-c", script])?;
    super::prune::image(d, "", 100, 1, &[])?;
    until("the container's file", || Ok((d.cli(&["exec", "runs", "test", "-e", "/ready"])?.code == 0).then_some(())))
}

fn du(d: &Daemon) -> Result<u64> {
    let out = Command::new("du").args(["-s", "-B1"]).arg(d.root()).output()?;
    let text = String::from_utf8(out.stdout)?;
    text.split_whitespace().next().and_then(|n| n.parse().ok()).context("du said nothing")
}

/// The parts of `-v`, without and with the line for the total.
fn parts(d: &Daemon) -> Result<(Vec<(String, u64)>, u64)> {
    let text = d.ok(&["system", "df", "-v"])?;
    let (_, table) = text.split_once("Everything below the root:\n\n").context("no parts")?;
    let mut rows: Vec<(String, u64)> = table
        .lines()
        .skip(1)
        .map(|line| {
            let (rest, bytes) = line.trim_end().rsplit_once(' ').context("a line")?;
            Ok((rest.split("   ").next().unwrap_or_default().to_owned(), bytes.parse()?))
        })
        .collect::<Result<_>>()?;
    let (last, total) = rows.pop().context("no total")?;
    ensure!(last == "Total", "{last}");
    Ok((rows, total))
}

fn the_sum_is_what_du_says(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    fill(&d)?;
    // What was removed on the way (writes of the database's journal, trash) comes to rest by itself.
    let (rows, total) = until("du and df to agree", || {
        let before = du(&d)?;
        let (rows, total) = parts(&d)?;
        Ok((total == before && du(&d)? == before).then_some((rows, total)))
    })?;
    ensure!(rows.iter().map(|(_, bytes)| bytes).sum::<u64>() == total, "{rows:?} {total}");
    for part in ["Images", "Containers", "Local Volumes", "Logs", "Store: database", "Store: recipes of layers"] {
        ensure!(rows.iter().any(|(name, bytes)| name == part && *bytes > 0), "{part}: {rows:?}");
    }
    let json = d.ok(&["system", "df", "-v", "--format", "json"])?;
    let document: Value = serde_json::from_str(&json)?;
    let told = document["Parts"].as_array().context("no parts")?;
    ensure!(told.last().is_some_and(|p| p["Part"] == "Total" && p["Bytes"] == total), "{json}");
    ensure!(document["Logs"].as_array().is_some_and(|l| l.iter().any(|l| l["Names"] == "ended")), "{json}");
    // It stays true when things go.
    d.ok(&["rm", "-f", "runs", "ended"])?;
    d.ok(&["system", "prune", "-af", "--volumes"])?;
    until("du and df to agree again", || {
        let before = du(&d)?;
        let (rows, now) = parts(&d)?;
        let sum: u64 = rows.iter().map(|(_, bytes)| bytes).sum();
        Ok((now == before && sum == now && now < total).then_some(()))
    })
}

fn tables_are_dockers(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    fill(&d)?;
    let theirs = |words: &[&str]| docker_ok(&d, words);
    let cut = |text: &str| {
        let cells = |line: &str| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
        text.lines().map(|l| if l.starts_with("Images") { cells(l) } else { l.to_owned() }).collect::<Vec<_>>()
    };
    for words in [
        &["system", "df"][..],
        &["system", "df", "--format", "table {{.Type}}\\t{{.Size}}"],
        &["system", "df", "--format", "{{.Type}}: {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}"],
    ] {
        let (ours, theirs) = (d.ok(words)? + "\n", theirs(words)?);
        // What images give back if they go: Docker's client guesses it where they share layers.
        ensure!(cut(&ours) == cut(&theirs), "{words:?}:\n{ours}\n{theirs}");
    }
    let (ours, docker) = (d.ok(&["system", "df", "-v"])?, theirs(&["system", "df", "-v"])?);
    let (first, own) = ours.split_once("\nLogs space usage:").context("no logs")?;
    ensure!(ageless(first) == ageless(&docker), "{ours}\n{docker}");
    ensure!(own.contains("ended") && own.contains("Total"), "{own}");
    let json = |text: &str| text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>();
    let words = ["system", "df", "--format", "json"];
    let (ours, docker) = (json(&d.ok(&words)?)?, json(&theirs(&words)?)?);
    ensure!(ours[1..] == docker[1..] && ours.len() == 4, "{ours:?} {docker:?}");
    ensure!(["Type", "Size", "TotalCount", "Active"].iter().all(|f| ours[0][f] == docker[0][f]), "{ours:?} {docker:?}");
    // And dhow's word is what a prune of all images does.
    let told = ours[0]["Reclaimable"].as_str().and_then(|r| r.split(' ').next()).context("no size")?;
    let dry = d.ok(&["image", "prune", "-a", "--dry-run"])?;
    ensure!(dry.ends_with(&format!("reclaimed: {told}")), "{told}: {dry}");
    // Each field that Docker tells of an image, a container and a volume is told, with the same value.
    let words = ["system", "df", "-v", "--format", "json"];
    let (ours, docker): (Value, Value) =
        (serde_json::from_str(&d.ok(&words)?)?, serde_json::from_str(&theirs(&words)?)?);
    for list in ["Images", "Containers", "Volumes", "BuildCache"] {
        let (a, b) = (ours[list].as_array().context(list)?, docker[list].as_array().context(list)?);
        ensure!(a.len() == b.len(), "{list}: {ours}\n{docker}");
        for (a, b) in a.iter().zip(b) {
            for (name, value) in b.as_object().context(list)? {
                let moves = matches!(name.as_str(), "CreatedSince" | "RunningFor" | "Status" | "Platform");
                ensure!(moves || a[name] == *value, "{list} {name}: {a}\n{b}");
            }
        }
    }
    Ok(())
}

fn a_terminal_is_told_more(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let piped = d.ok(&["system", "df"])?;
    ensure!(piped.lines().count() == 5 && !piped.contains("Besides these"), "{piped}");
    let (code, seen) = Terminal::spawn(d.command(&["system", "df"]), 24, 120)?.wait()?;
    ensure!(
        code == 0 && seen.contains("Besides these: logs ") && seen.contains("Everything below the root: "),
        "{seen}"
    );
    let formatted = Terminal::spawn(d.command(&["system", "df", "--format", "{{.Type}}"]), 24, 120)?.wait()?.1;
    ensure!(formatted.lines().count() == 4, "{formatted}");
    d.cli(&["system", "df", "--format", "{{.Nope}}"])?.fails(1, &["Nope"])?;
    ensure!(d.ok(&["system", "df", "--format", "raw"])?.starts_with("type: Images\ntotal: "));
    let (status, _, body) = d.http("GET", "/system/df?type=nothing", "")?;
    ensure!(status == 400 && body.contains("unknown object type: nothing"), "{status} {body}");
    Ok(())
}

fn versions_before_the_sums(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    fill(&d)?;
    let newest = d.ok(&["system", "df", "-v"])?;
    let (docker_part, _) = newest.split_once("\nLogs space usage:").context("no logs")?;
    for version in ["1.44", "1.51", "1.52", "1.53"] {
        let out = d.command(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}}"]);
        let mut out = out;
        let out = out.env("DOCKER_API_VERSION", version).output()?;
        let text = String::from_utf8(out.stdout)?;
        let now = d.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}}"])? + "\n";
        ensure!(text == now, "{version}: {text}{}", String::from_utf8_lossy(&out.stderr));
        let out = d.command(&["system", "df", "-v"]).env("DOCKER_API_VERSION", version).output()?;
        let text = String::from_utf8(out.stdout)?;
        ensure!(text.contains("Everything below the root") == !matches!(version, "1.44" | "1.51"), "{version}: {text}");
        ensure!(text.lines().count() >= docker_part.lines().count(), "{version}: {text}");
    }
    Ok(())
}

const PY: &str = r#"
import docker
df = docker.from_env().df()
images = df["ImageUsage"]
assert images["TotalCount"] >= 3 and images["TotalSize"] >= images["Reclaimable"] > 0, images
df = docker.from_env(version="1.44").df()
assert df["LayersSize"] > 0 and len(df["Images"]) >= 3, df
child = [i for i in df["Images"] if "child:1" in (i["RepoTags"] or [])][0]
assert child["SharedSize"] > 0 and child["Size"] > child["SharedSize"] and child["Containers"] == 1, child
ended = [k for k in df["Containers"] if k["Names"] == ["/ended"]][0]
assert ended["SizeRw"] > 200000, ended
data = [v for v in df["Volumes"] if v["Name"] == "data"][0]
assert data["UsageData"]["RefCount"] == 1 and data["UsageData"]["Size"] > 200000, data
assert df["BuildCache"] == []
print("all well")
"#;

fn docker_py_df(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    fill(&d)?;
    let out = python(&d)?.arg("-c").arg(PY).output()?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).trim() == "all well", "{err}");
    Ok(())
}
