//! Prunes: what goes and what stays, the questions, dry runs and dhow's own bounds, by dhow's command line, Docker's and
//! docker-py.

use super::clients::{docker, needs_docker_28, python};
use crate::daemon::{Daemon, Ran, fed};
use crate::pty::Terminal;
use crate::runner::{World, skip};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

super::cases!("prune":
    images_by_filter, containers_by_filter, volumes_and_networks, questions_are_dockers, answers, a_dry_run_changes_nothing,
    a_dry_run_of_all_counts_containers_as_gone, bounds_leave_exact_survivors, what_may_be_protected_stays,
    what_is_refused, a_prune_of_all, docker_py_prunes,
);

/// A tar with one file of so many KiB; `seed` makes it another layer.
fn archive(kib: usize, seed: u8) -> Vec<u8> {
    let mut header = [0u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, "file");
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", kib * 1024));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut all = header.to_vec();
    // No zeros: a file of holes would take no space.
    all.resize(512 + kib * 1024, seed | 1);
    all.resize(all.len() + 1024, 0);
    all
}

/// Makes an image of `kib` KiB, without a name if `name` is empty; gives its id.
pub(super) fn image(d: &Daemon, name: &str, kib: usize, seed: u8, changes: &[&str]) -> Result<String> {
    let mut words = vec!["import"];
    changes.iter().for_each(|c| words.extend(["-c", c]));
    words.push("-");
    words.extend((!name.is_empty()).then_some(name));
    d.with_input(&words, &archive(kib, seed))?.ok()
}

/// Runs a client, dhow's or Docker's, with this standard input.
fn client(d: &Daemon, dockers: bool, words: &[&str], input: &str) -> Result<Ran> {
    if !dockers {
        return d.with_input(words, input.as_bytes());
    }
    fed(docker(d, words)?, input.as_bytes())
}

/// Ids of all images, and names of containers.
fn all(d: &Daemon) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let lines = |text: String| text.lines().map(str::to_owned).collect();
    Ok((lines(d.ok(&["images", "-q", "--no-trunc"])?), lines(d.ok(&["ps", "-a", "--format", "{{.Names}}"])?)))
}

fn images_by_filter(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["rmi", "dhow/hello"])?;
    d.ok(&["create", "--name", "user", "busybox"])?;
    for dockers in [false, true] {
        for (words, goes) in [
            (&[][..], "dangling labelled"),
            (&["--filter", "label=k=v"], "labelled"),
            (&["--filter", "label=k"], "labelled"),
            (&["--filter", "label=k=other"], ""),
            (&["--filter", "label!=k"], "dangling"),
            (&["--filter", "until=24h"], ""),
            (&["--filter", "until=0s"], "dangling labelled"),
            (&["--filter", "until=2001-01-01"], ""),
            (&["--filter", "dangling=true"], "dangling labelled"),
            (&["-a", "--filter", "label=k=v"], "labelled named"),
            (&["-a", "--filter", "label=k=v", "--filter", "label=n=1"], "named"),
            (&["-a"], "dangling labelled named other"),
        ] {
            let made: BTreeMap<&str, String> = [
                ("dangling", image(&d, "", 8, 1, &[])?),
                ("labelled", image(&d, "", 8, 3, &["LABEL k=v"])?),
                ("named", image(&d, "named:1", 8, 5, &["LABEL k=v n=1"])?),
                ("other", image(&d, "other:1", 8, 7, &[])?),
            ]
            .into();
            let ran = client(&d, dockers, &[&["image", "prune", "-f"], words].concat(), "")?;
            ensure!(ran.code == 0 && ran.err.is_empty(), "{dockers} {words:?}: {ran:?}");
            let left = all(&d)?.0;
            let gone: Vec<&str> = made.iter().filter(|(_, id)| !left.contains(*id)).map(|(name, _)| *name).collect();
            ensure!(gone.join(" ") == goes, "{dockers} {words:?}: {gone:?} went, not {goes}\n{}", ran.out);
            ensure!(!d.ok(&["images", "-q", "busybox"])?.is_empty(), "what a container uses stays");
            if goes.is_empty() {
                ensure!(ran.out == "Total reclaimed space: 0B\n", "{}", ran.out);
            } else {
                ensure!(ran.out.starts_with("Deleted Images:\n"), "{}", ran.out);
                for name in goes.split(' ') {
                    let (line, tag) = (format!("\ndeleted: {}\n", made[name]), format!("\nuntagged: {name}:1\n"));
                    let named = matches!(name, "named" | "other");
                    ensure!(ran.out.contains(&line) && ran.out.contains(&tag) == named, "{name}: {}", ran.out);
                }
                ensure!(ran.out.contains("\n\nTotal reclaimed space: "), "{}", ran.out);
            }
            d.ok(&["image", "prune", "-af"])?;
        }
    }
    Ok(())
}

fn containers_by_filter(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "-d", "--name", "runs", "--label", "k=v", "busybox", "sleep", "1000"])?;
    for dockers in [false, true] {
        for (words, goes) in [
            (&[][..], "created ended labelled"),
            (&["--filter", "label=k"], "labelled"),
            (&["--filter", "label!=k"], "created ended"),
            (&["--filter", "until=1h"], ""),
            (&["--filter", "until=0s"], "created ended labelled"),
        ] {
            d.ok(&["create", "--name", "created", "busybox"])?;
            let ended = d.cli(&["run", "--name", "ended", "busybox", "true"])?;
            ensure!(ended.code == 0);
            d.ok(&["run", "--name", "labelled", "--label", "k=v", "busybox", "true"])?;
            let ids: BTreeMap<&str, String> = ["created", "ended", "labelled"]
                .into_iter()
                .map(|name| Ok((name, d.inspect(name)?["Id"].as_str().unwrap_or_default().to_owned())))
                .collect::<Result<_>>()?;
            let ran = client(&d, dockers, &[&["container", "prune", "-f"], words].concat(), "")?;
            ensure!(ran.code == 0, "{ran:?}");
            let left = all(&d)?.1;
            let gone: Vec<&str> = ids.keys().copied().filter(|name| !left.contains(*name)).collect();
            ensure!(gone.join(" ") == goes && left.contains("runs"), "{dockers} {words:?}: {gone:?}, not {goes}");
            let listed = ids.iter().filter(|(_, id)| ran.out.contains(&format!("\n{id}\n"))).map(|(name, _)| *name);
            ensure!(listed.collect::<Vec<_>>() == gone, "{}", ran.out);
            ensure!(ran.out.starts_with("Deleted Containers:\n") != goes.is_empty(), "{}", ran.out);
            for name in left.iter().filter(|name| *name != "runs") {
                d.ok(&["rm", name])?;
            }
        }
    }
    Ok(())
}

fn volumes_and_networks(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    let volumes = || -> Result<Vec<(String, i64)>> {
        let (_, _, body) = d.http("GET", "/system/df?type=volume&verbose=1", "")?;
        let document: Value = serde_json::from_str(body.trim())?;
        let list = document["VolumeUsage"]["Items"].as_array().cloned().unwrap_or_default();
        let one = |v: &Value| {
            (v["Name"].as_str().unwrap_or_default().to_owned(), v["UsageData"]["RefCount"].as_i64().unwrap_or(-1))
        };
        Ok(list.iter().map(one).collect())
    };
    d.ok(&["create", "--name", "user", "-v", "used:/x", "busybox"])?;
    for dockers in [false, true] {
        for (words, anonymous_goes, named_goes) in [
            (&["--filter", "label=k"][..], false, false),
            (&[], true, false),
            (&["-a"], true, true),
            (&["--filter", "all=true"], true, true),
        ] {
            d.ok(&[
                "run",
                "--name",
                "maker",
                "-v",
                "named:/n",
                "-v",
                "/anonymous",
                "busybox",
                "sh",
                "-c",
                "echo 1 > /n/f",
            ])?;
            d.ok(&["rm", "maker"])?;
            let before = volumes()?;
            let anonymous: Vec<String> = before.iter().map(|(n, _)| n.clone()).filter(|n| n.len() == 64).collect();
            ensure!(before.len() == 2 + anonymous.len() && !anonymous.is_empty(), "{before:?}");
            let ran = client(&d, dockers, &[&["volume", "prune", "-f"], words].concat(), "")?;
            ensure!(ran.code == 0, "{ran:?}");
            let after: Vec<String> = volumes()?.into_iter().map(|(name, _)| name).collect();
            ensure!(after.contains(&"used".to_owned()), "a container uses it");
            ensure!(after.contains(&"named".to_owned()) != named_goes, "{dockers} {words:?}: {after:?}");
            ensure!(anonymous.iter().all(|a| after.contains(a) != anonymous_goes), "{dockers} {words:?}: {after:?}");
            ensure!(ran.out.contains("\nnamed\n") == named_goes, "{}", ran.out);
            ensure!(ran.out.starts_with("Deleted Volumes:\n") == (named_goes || anonymous_goes), "{}", ran.out);
        }
        // Those there are belong to the machine; and a network takes no space, so there is no sum.
        let ran = client(&d, dockers, &["network", "prune", "-f"], "")?;
        ensure!(ran.code == 0 && ran.out.is_empty() && ran.err.is_empty(), "{ran:?}");
        let ran = client(&d, dockers, &["builder", "prune", "-f"], "")?;
        ensure!(ran.code == 0 && ran.out == "Total reclaimed space: 0B\n", "{ran:?}");
    }
    d.cli(&["volume", "prune", "-f", "-a", "--filter", "all=1"])?.fails(1, &["cannot specify both --all"])?;
    Ok(())
}

fn questions_are_dockers(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.daemon()?;
    for words in [
        &["image", "prune"][..],
        &["image", "prune", "-a"],
        &["container", "prune"],
        &["volume", "prune"],
        &["volume", "prune", "--all"],
        &["network", "prune"],
        &["builder", "prune"],
        &["builder", "prune", "-a"],
        &["system", "prune"],
        &["system", "prune", "-a", "--volumes"],
        &["system", "prune", "--filter", "until=24h", "--filter", "label=a=b", "--filter", "label!=c"],
        &["system", "prune", "--volumes", "--filter", "until=24h"],
    ] {
        for answer in ["n\n", "", "no\n", "yes\n"] {
            let (ours, theirs) = (client(&d, false, words, answer)?, client(&d, true, words, answer)?);
            ensure!(ours.out == theirs.out && ours.code == theirs.code, "{words:?}:\n{ours:?}\n{theirs:?}");
            // Docker adds a word against its old builder.
            let same = words[0] == "builder" || ours.err.contains(theirs.err.trim());
            ensure!(same && ours.err.is_empty() == (ours.code == 0), "{words:?}: {ours:?} {theirs:?}");
        }
    }
    Ok(())
}

fn answers(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = image(&d, "", 8, 1, &[])?;
    for (answer, goes) in [("n\n", false), ("\n", false), ("", false), ("yes\n", false), (" Y \n", true)] {
        let ran = client(&d, false, &["image", "prune"], answer)?;
        ensure!(ran.code == 0 && ran.err.is_empty(), "{ran:?}");
        ensure!(ran.out.contains(&id) == goes && all(&d)?.0.contains(&id) != goes, "{answer:?}: {ran:?}");
    }
    for (answer, goes) in [(b"n\r", false), (b"y\r", true)] {
        let name = d.ok(&["create", "busybox"])?;
        let mut terminal = Terminal::spawn(d.command(&["system", "prune"]), 24, 80)?;
        terminal.expect("WARNING! This will remove:")?;
        terminal.expect("  - all stopped containers")?;
        terminal.expect("Are you sure you want to continue? [y/N] ")?;
        terminal.send(answer)?;
        let (code, seen) = terminal.wait()?;
        ensure!(code == 0 && seen.contains("Total reclaimed space: ") == goes, "{seen}");
        ensure!((d.cli(&["inspect", &name])?.code == 0) != goes, "{seen}");
    }
    Ok(())
}

/// Everything that could have changed: names, ids, bytes.
fn state(d: &Daemon) -> Result<String> {
    // Without ages, which change by themselves.
    let names = "{{.ID}} {{.Repository}}:{{.Tag}} {{.Size}}";
    let lists = [
        d.ok(&["images", "--no-trunc", "-a", "--format", names])?,
        d.ok(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}"])?,
    ];
    let (_, _, df) = d.http("GET", "/system/df?verbose=1", "")?;
    let document: Value = serde_json::from_str(df.trim())?;
    let sizes = ["ImageUsage", "ContainerUsage", "VolumeUsage"].map(|k| document[k]["TotalSize"].to_string());
    Ok(format!("{}\n{}", lists.join("\n"), sizes.join(" ")))
}

fn a_dry_run_changes_nothing(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let ids = [image(&d, "", 40, 1, &[])?, image(&d, "kept:1", 80, 3, &[])?];
    d.ok(&["run", "--name", "ended", "-v", "/anonymous", "busybox", "sh", "-c", "echo x > /x; echo y > /anonymous/y"])?;
    let before = state(&d)?;
    let mut told = BTreeMap::new();
    for kind in ["image", "container", "volume", "network", "builder", "system"] {
        let ran = client(&d, false, &[kind, "prune", "--dry-run"], "")?;
        ensure!(ran.code == 0 && ran.err.is_empty() && !ran.out.contains("[y/N]"), "{ran:?}");
        ensure!(state(&d)? == before, "{kind}");
        let sum = ran.out.lines().last().and_then(|l| l.strip_prefix("Total space that would be reclaimed: "));
        told.insert(kind, (sum.with_context(|| ran.out.clone())?.to_owned(), ran.out));
    }
    let (_, images) = &told["image"];
    ensure!(images.starts_with("Images that would be removed:\nIMAGE ID "), "{images}");
    ensure!(images.contains(&ids[0][7..19]) && !images.contains("kept:1"), "{images}");
    ensure!(told["container"].1.contains("ended") && told["network"].0 == "0B", "{told:?}");
    // What was told is what happens.
    for kind in ["image", "container", "volume"] {
        if kind == "volume" {
            let ran = client(&d, false, &["volume", "prune", "--dry-run"], "")?;
            told.insert(kind, (ran.out.rsplit(' ').next().unwrap_or_default().trim().to_owned(), ran.out));
            ensure!(told[kind].0 != "0B", "{told:?}");
        }
        let done = d.ok(&[kind, "prune", "-f"])?;
        ensure!(
            done.ends_with(&format!("Total reclaimed space: {}", told[kind].0)),
            "{kind}: {done}\n{:?}",
            told[kind]
        );
    }
    ensure!(!all(&d)?.0.contains(&ids[0]) && all(&d)?.0.contains(&ids[1]));
    Ok(())
}

fn a_dry_run_of_all_counts_containers_as_gone(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["rmi", "dhow/hello"])?;
    d.ok(&["tag", "busybox", "runs:1"])?;
    image(&d, "idle:1", 40, 1, &[])?;
    d.ok(&[
        "run",
        "--name",
        "ended",
        "--label",
        "k",
        "-v",
        "/anonymous",
        "-v",
        "named:/n",
        "busybox",
        "sh",
        "-c",
        "echo y > /anonymous/y",
    ])?;
    for (words, images, volumes) in [
        (&["--volumes"][..], false, true),
        (&["-a", "--volumes"], true, true),
        (&["-a"], true, false),
        // The container stays by this filter, and so do what it uses.
        (&["-a", "--volumes", "--filter", "label!=k"], false, false),
    ] {
        let before = state(&d)?;
        let told = d.ok(&[&["system", "prune", "--dry-run"], words].concat())?;
        ensure!(state(&d)? == before);
        ensure!(told.contains("busybox:latest") == images, "{words:?}: {told}");
        ensure!(told.contains("Volumes that would be removed:") == volumes, "{words:?}: {told}");
        ensure!(!told.lines().any(|l| l.starts_with("named ")), "-a is not for volumes: {told}");
    }
    let sum = |text: &str| text.rsplit(": ").next().unwrap_or_default().to_owned();
    let told = d.ok(&["system", "prune", "-a", "--volumes", "--dry-run"])?;
    let done = d.ok(&["system", "prune", "-af", "--volumes"])?;
    ensure!(sum(&told) == sum(&done) && sum(&done) != "0B", "{told}\n{done}");
    ensure!(all(&d)? == Default::default(), "{done}");
    let (status, _, body) = d.http("POST", "/images/prune?after-containers=1", "")?;
    ensure!(status == 400 && body.contains("dry-run only"), "{status} {body}");
    let (_, _, body) = d.http("GET", "/system/df?type=volume&verbose=1", "")?;
    ensure!(body.contains("\"named\""), "system prune takes no volume with a name: {body}");
    Ok(())
}

/// Sets when images and containers were last used, while no daemon runs: `image NAME DAYS` or `container NAME DAYS`.
const AGE: &str = r#"
import json, os, sqlite3, sys, time, datetime
db = sqlite3.connect(sys.argv[1])
now = time.time()
for kind, name, days in zip(sys.argv[2::3], sys.argv[3::3], sys.argv[4::3]):
    then = int(now - float(days) * 86400)
    if kind == "image":
        done = db.execute("UPDATE images SET loaded = 1, last_used = ? WHERE id IN (SELECT image FROM tags WHERE name = ?)",
            (then, "docker.io/library/" + name))
    else:
        doc = json.loads(db.execute("SELECT doc FROM containers WHERE name = ?", (name,)).fetchone()[0])
        at = datetime.datetime.fromtimestamp(then, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        doc["created"] = at
        for key in "started_at", "finished_at":
            doc["state"][key] = doc["state"][key] and at
        # A run that the record knows nothing of would be told by the file of its end.
        end = os.path.join(os.path.dirname(sys.argv[1]), "containers", doc["id"], "exit.json")
        if os.path.exists(end):
            with open(end) as file:
                status = json.load(file)
            status["startedAt"] = status["finishedAt"] = at
            with open(end, "w") as file:
                json.dump(status, file)
        done = db.execute("UPDATE containers SET doc = ? WHERE name = ?", (json.dumps(doc), name))
    assert done.rowcount == 1, (kind, name)
db.commit()
"#;

pub(super) fn age(d: &Daemon, ages: &[(&str, &str, &str)]) -> Result<()> {
    if !Command::new("python3").args(["-c", "import sqlite3"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    {
        return skip("python3 with sqlite3 is not installed");
    }
    d.kill()?;
    let mut python = Command::new("python3");
    python.args(["-c", AGE]).arg(d.root().join("dhow.db"));
    ages.iter().for_each(|(kind, name, days)| {
        python.args([kind, name, days]);
    });
    let out = python.output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    d.up()
}

fn bounds_leave_exact_survivors(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "--name", "holder", "busybox", "true"])?;
    for (name, kib, seed) in [("a", 100, 1), ("b", 200, 3), ("c", 400, 5), ("d", 800, 7)] {
        image(&d, &format!("{name}:1"), kib, seed, &[])?;
    }
    for name in ["old", "middle", "young"] {
        let script = "dd if=/dev/zero bs=1k count=300 2>/dev/null | tr '\\0' x > /f";
        d.ok(&["run", "--name", name, "busybox", "sh", "-c", script])?;
    }
    let images = [("image", "a", "40"), ("image", "b", "10"), ("image", "c", "0.5"), ("image", "d", "20")];
    let containers = [
        ("container", "old", "90"),
        ("container", "middle", "9"),
        ("container", "young", "1.5"),
        ("container", "holder", "0.01"),
    ];
    age(&d, &[&images[..], &containers].concat())?;
    // It is back after each start.
    d.ok(&["rmi", "dhow/hello"])?;
    let would = |words: &[&str]| -> Result<Vec<String>> {
        let text = d.ok(&[words, &["--dry-run"]].concat())?;
        let rows = text.lines().skip(2).take_while(|l| !l.is_empty());
        Ok(rows.filter_map(|l| l.split_whitespace().nth(1)).map(|n| n.trim_end_matches(":1").to_owned()).collect())
    };
    for (words, want) in [
        (&["--unused-for", "30d"][..], "a"),
        (&["--unused-for", "2w"], "a d"),
        (&["--unused-for", "1d"], "a d b"),
        (&["--unused-for", "12h"], "a d b c"),
        (&["--unused-for", "100d"], ""),
        (&["--keep-bytes", "1GB"], ""),
        // The least recently used first, and no more than needed: busybox counts, and is in use.
        (&["--keep-bytes", "0"], "a d b c"),
        (&["--unused-for", "1d", "--keep-bytes", "0"], "a d b"),
        (&["--unused-for", "1d", "--filter", "label=x"], ""),
    ] {
        let got = would(&[&["image", "prune", "-a"], words].concat())?.join(" ");
        ensure!(got == want, "{words:?}: {got:?}, not {want:?}");
    }
    for (words, want) in [
        (&["--unused-for", "30d"][..], "old"),
        (&["--unused-for", "1w"], "old middle"),
        (&["--unused-for", "37h"], "old middle"),
        (&["--unused-for", "1d"], "old middle young"),
        (&["--keep-bytes", "800KB"], "old"),
        (&["--keep-bytes", "1GB"], ""),
    ] {
        let got = would(&[&["container", "prune"], words].concat())?.join(" ");
        ensure!(got == want, "{words:?}: {got:?}, not {want:?}");
    }
    // And in earnest: one image goes by size, then one by its age.
    let (_, _, body) = d.http("GET", "/system/df?type=image", "")?;
    let used = serde_json::from_str::<Value>(body.trim())?["ImageUsage"]["TotalSize"].as_u64().context("no size")?;
    let keep = (used - 1).to_string();
    let done = d.ok(&["image", "prune", "-af", "--keep-bytes", &keep])?;
    let names = || {
        d.ok(&["images", "--format", "{{.Repository}}"])
            .map(|t| t.lines().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" "))
    };
    ensure!(done.contains("untagged: a:1") && names()? == "b busybox c d", "{done} {}", names()?);
    d.ok(&["image", "prune", "-af", "--unused-for", "15d"])?;
    ensure!(names()? == "b busybox c", "{}", names()?);
    d.ok(&["system", "prune", "-af", "--unused-for", "8d"])?;
    ensure!(names()? == "busybox c", "{}", names()?);
    let left = all(&d)?.1.into_iter().collect::<Vec<_>>().join(" ");
    ensure!(left == "holder young", "{left}");
    Ok(())
}

/// A configuration that can't be read any more says nothing of labels: `label!=keep` must not take it.
fn what_may_be_protected_stays(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let [lawful, damaged] =
        [image(&d, "lawful:1", 8, 1, &["LABEL keep="])?, image(&d, "damaged:1", 8, 3, &["LABEL keep="])?];
    image(&d, "goes:1", 8, 5, &[])?;
    d.kill()?;
    std::fs::write(d.root().join("blobs/sha256").join(&damaged["sha256:".len()..]), "{}")?;
    d.up()?;
    let said = d.ok(&["image", "prune", "-af", "--filter", "label!=keep"])?;
    let left = all(&d)?.0;
    ensure!(left.contains(&lawful) && left.contains(&damaged) && said.contains("untagged: goes:1"), "{said} {left:?}");
    let said = d.ok(&["image", "prune", "-af", "--filter", "label=keep"])?;
    let left = all(&d)?.0;
    ensure!(!left.contains(&lawful) && left.contains(&damaged), "{said} {left:?}");
    d.ok(&["image", "prune", "-af"])?;
    ensure!(all(&d)?.0.is_empty(), "without a filter it goes, as everything that nobody uses");
    Ok(())
}

fn what_is_refused(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for (words, code, part) in [
        (&["image", "prune", "-f", "--filter", "x"][..], 125, "bad format of filter (expected name=value)"),
        (&["image", "prune", "-f", "--filter", "x=y"], 1, "invalid filter 'x'"),
        (&["image", "prune", "-f", "--filter", "until=soon"], 1, "until=soon"),
        (&["image", "prune", "-f", "--unused-for", "soon"], 1, "invalid span of time \"soon\""),
        (&["image", "prune", "-f", "--unused-for", "-1d"], 1, "invalid span of time"),
        (&["image", "prune", "-f", "--keep-bytes", "much"], 1, "invalid size: 'much'"),
        (&["image", "prune", "-f", "--volumes"], 125, "unknown flag: --volumes"),
        (&["volume", "prune", "-f", "--filter", "until=1h"], 1, "invalid filter 'until'"),
        (&["volume", "prune", "-f", "--unused-for", "1d"], 125, "unknown flag: --unused-for"),
        (
            &["system", "prune", "-f", "--volumes", "--filter", "until=1h"],
            1,
            "\"until\" filter is not supported with \"--volumes\"",
        ),
        (&["system", "prune", "-f", "--volumes", "--unused-for", "1d"], 1, "the last use of a volume is not recorded"),
        (&["system", "prune", "-f", "--keep-bytes", "1GB"], 1, "image prune"),
        (&["image", "prune", "-f", "extra"], 1, "'dhow image prune' accepts no arguments"),
    ] {
        d.cli(words)?.fails(code, &[part]).with_context(|| format!("{words:?}"))?;
    }
    for (path, part) in [
        ("/volumes/prune?unused-for=1", "unused-for does not work for volumes"),
        ("/networks/prune?keep-bytes=1", "keep-bytes does not work for networks"),
        ("/images/prune?unused-for=x", "want a number"),
    ] {
        let (status, _, body) = d.http("POST", path, "")?;
        ensure!(status == 400 && body.contains(part), "{path}: {status} {body}");
    }
    Ok(())
}

fn a_prune_of_all(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    for dockers in [false, true] {
        let dangling = image(&d, "", 40, 1, &[])?;
        let named = image(&d, "named:1", 40, 3, &[])?;
        d.ok(&["run", "--name", "ended", "-v", "/anonymous", "busybox", "true"])?;
        let running = d.ok(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"])?;
        let ran = client(&d, dockers, &["system", "prune", "--volumes"], "y\n")?;
        ensure!(ran.code == 0, "{ran:?}");
        let order = ["Deleted Containers:\n", "Deleted Volumes:\n", "Deleted Images:\n", "Total reclaimed space: "];
        let places: Vec<_> = order.iter().map(|head| ran.out.find(head)).collect();
        ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "{}", ran.out);
        let (images, containers) = all(&d)?;
        ensure!(!images.contains(&dangling) && images.contains(&named), "{images:?}");
        ensure!(containers == ["runs".to_owned()].into(), "{containers:?}");
        let ran = client(&d, dockers, &["system", "prune", "-af"], "")?;
        ensure!(ran.code == 0 && ran.out.contains("untagged: named:1"), "{ran:?}");
        ensure!(d.ok(&["exec", &running, "echo", "alive"])? == "alive", "what runs keeps its image");
        d.ok(&["rm", "-f", "runs"])?;
    }
    Ok(())
}

const PY: &str = r#"
import docker, io, sys
c = docker.from_env()
def image(data, **more):
    return c.api.import_image_from_data(data, **more)
tar = open(sys.argv[1], "rb").read()
import json
dangling = json.loads(image(tar))["status"]
named = json.loads(image(tar, repository="py-named", tag="1", changes=["LABEL k=v"]))["status"]
assert dangling in [i.id for i in c.images.list()], dangling
done = c.images.prune()
assert {"Deleted": dangling} in done["ImagesDeleted"], done
done = c.images.prune(filters={"dangling": False, "label": "k=w"})
assert done["ImagesDeleted"] is None and done["SpaceReclaimed"] == 0, done
done = c.images.prune(filters={"dangling": False, "label": "k=v"})
assert {"Untagged": "py-named:1"} in done["ImagesDeleted"] and done["SpaceReclaimed"] > 0, done
k = c.containers.create("busybox", ["true"], labels={"py": "1"}, volumes=["/anonymous"])
done = c.containers.prune(filters={"label": "py"})
assert done["ContainersDeleted"] == [k.id], done
done = c.volumes.prune()
assert len(done["VolumesDeleted"]) == 1 and done["SpaceReclaimed"] >= 0, done
assert not c.networks.prune()["NetworksDeleted"]
assert c.api.prune_builds()["SpaceReclaimed"] == 0
try:
    c.images.prune(filters={"x": "y"})
    sys.exit("no error")
except docker.errors.APIError as e:
    assert e.response.status_code == 400 and "invalid filter" in str(e), e
print("all well")
"#;

fn docker_py_prunes(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let file = d.dir.path().join("one.tar");
    std::fs::write(&file, archive(40, 9))?;
    let out = python(&d)?.arg("-c").arg(PY).arg(&file).output()?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).trim() == "all well", "{err}");
    Ok(())
}
