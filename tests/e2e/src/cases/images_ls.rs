//! Lists of images, their filters and formats, by dhow's command line, Docker's and docker-py; `inspect` and `rmi`.

use super::clients::{ageless, docker, docker_ok, needs_docker_28, python};
use super::prune::{age, image};
use crate::daemon::Daemon;
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

super::cases!("images_ls":
    filters_by_every_client, lists_look_as_dockers, digests_have_rows, the_last_use_is_shown, counts_and_shared_sizes,
    a_tree_of_names, what_fails_fails_as_with_docker, inspect_of_several, removal_of_several,
);

/// Images made one after the other, each younger than the one before; busybox is the oldest, hello is away.
fn fill(d: &Daemon) -> Result<()> {
    d.ok(&["rmi", "dhow/hello"])?;
    image(d, "team/app:1", 8, 1, &["LABEL a=1"])?;
    image(d, "team/app:2", 16, 3, &["LABEL a=2 b="])?;
    image(d, "", 24, 5, &["LABEL a=1"])?;
    image(d, "example.com:5000/x/y:z", 32, 7, &[])?;
    d.ok(&["tag", "team/app:2", "also:latest"])?;
    Ok(())
}

const FILTERS: &[(&[&str], &str)] = &[
    (&[], "<none>:<none> also:latest busybox:latest example.com:5000/x/y:z team/app:1 team/app:2"),
    (&["dangling=true"], "<none>:<none>"),
    (&["dangling=1"], "<none>:<none>"),
    (&["dangling=false"], "also:latest busybox:latest example.com:5000/x/y:z team/app:1 team/app:2"),
    (&["label=a"], "<none>:<none> also:latest team/app:1 team/app:2"),
    (&["label=a=1"], "<none>:<none> team/app:1"),
    (&["label=a=2", "label=b"], "also:latest team/app:2"),
    (&["label=a=1", "label=b"], ""),
    (&["label=a=1", "dangling=false"], "team/app:1"),
    (&["before=team/app:1"], "busybox:latest"),
    (&["before=team/app:2"], "busybox:latest team/app:1"),
    (&["before=docker.io/team/app:2"], "busybox:latest team/app:1"),
    (&["before=team/app:2", "before=team/app:1"], "busybox:latest"),
    (&["since=team/app:2"], "<none>:<none> example.com:5000/x/y:z"),
    (&["since=also"], "<none>:<none> example.com:5000/x/y:z"),
    (&["since=busybox", "before=also"], "team/app:1"),
    (&["since=busybox", "since=team/app:1", "dangling=false"], "also:latest example.com:5000/x/y:z team/app:2"),
    (&["until=24h"], "busybox:latest"),
    (&["until=2024-01-01"], "busybox:latest"),
    (&["until=2024-01-01T00:00:00Z", "label=a"], ""),
    (&["until=1000000000"], ""),
    (&["reference=team/app"], "team/app:1 team/app:2"),
    (&["reference=team/app:2"], "team/app:2"),
    (&["reference=team/*"], "team/app:1 team/app:2"),
    (&["reference=*/*:2"], "team/app:2"),
    (&["reference=*"], "also:latest busybox:latest"),
    (&["reference=b?sybox"], "busybox:latest"),
    (&["reference=[a-b]*"], "also:latest busybox:latest"),
    (&["reference=docker.io/library/busybox"], "busybox:latest"),
    (&["reference=docker.io/team/app:1"], "team/app:1"),
    (&["reference=example.com:5000/*/y"], "example.com:5000/x/y:z"),
    (&["reference=app"], ""),
    (&["reference=also", "reference=busybox"], "also:latest busybox:latest"),
    (&["reference=also", "label=a=1"], ""),
];

fn sorted(lines: &str) -> String {
    let mut lines: Vec<&str> = lines.lines().filter(|l| !l.is_empty()).collect();
    lines.sort_unstable();
    lines.join(" ")
}

const PY: &str = r#"
import docker, json, sys
c = docker.from_env()
wrong = []
for filters, want in json.load(sys.stdin):
    given = {}
    for f in filters:
        name, value = f.split("=", 1)
        given.setdefault(name, []).append(value)
    names = []
    for image in c.api.images(filters=given):
        names += image["RepoTags"] or ["<none>:<none>"]
    if " ".join(sorted(names)) != want:
        wrong.append((filters, sorted(names), want))
assert not wrong, wrong
assert sorted(i.tags[0] for i in c.images.list(name="team/app")) == ["team/app:1", "team/app:2"] or len(c.images.list(name="team/app")) == 2
assert len(c.api.images(quiet=True, all=True)) == 5
old = docker.from_env(version="1.42")
none = [i for i in old.api.images() if i["RepoTags"] == ["<none>:<none>"]]
assert len(none) == 1 and none[0]["RepoDigests"] == ["<none>@<none>"] and none[0]["VirtualSize"] == none[0]["Size"], none
print("all well")
"#;

fn filters_by_every_client(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    fill(&d)?;
    for (filters, want) in FILTERS {
        let mut words = vec!["images", "--format", "{{.Repository}}:{{.Tag}}"];
        filters.iter().for_each(|f| words.extend(["--filter", f]));
        let ours = sorted(&d.ok(&words)?);
        ensure!(ours == *want, "{filters:?}: {ours}\nnot {want}");
        let theirs = sorted(&docker_ok(&d, &words)?);
        ensure!(theirs == *want, "docker {filters:?}: {theirs}\nnot {want}");
    }
    // The name behind the flags is a reference, too.
    ensure!(sorted(&d.ok(&["image", "ls", "--format", "{{.Tag}}", "team/app"])?) == "1 2");
    // A prefix of an id names an image in a filter.
    let id = d.ok(&["images", "-q", "team/app:1"])?;
    let before = d.ok(&["images", "-q", "--filter", &format!("before={id}")])?;
    ensure!(before == d.ok(&["images", "-q", "busybox"])?, "{before}");
    let mut command = python(&d)?;
    command.arg("-c").arg(PY);
    let out = crate::daemon::fed(command, serde_json::to_string(FILTERS)?.as_bytes())?;
    ensure!(out.code == 0 && out.out.trim() == "all well", "{out:?}");
    // Docker's clients before 1.25 had a parameter of its own for names.
    let (_, _, body) = d.http("GET", "/v1.24/images/json?filter=team%2Fapp%3A1", "")?;
    let list: Vec<Value> = serde_json::from_str(body.trim())?;
    ensure!(list.len() == 1 && list[0]["RepoTags"][0] == "team/app:1", "{body}");
    Ok(())
}

fn lists_look_as_dockers(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    fill(&d)?;
    for words in [
        &["images"][..],
        &["image", "ls"],
        &["image", "list", "-a"],
        &["images", "--digests"],
        &["images", "--no-trunc"],
        &["images", "-q"],
        &["images", "-q", "--no-trunc"],
        &["images", "-aq", "--filter", "dangling=true"],
        &["images", "team/app"],
        &["images", "nothing"],
        &["images", "-q", "nothing"],
        &["images", "--format", "table {{.ID}}\\t{{.Repository}}\\t{{.Size}}"],
        &["images", "--format", "table {{.CreatedAt}}\\t{{.SharedSize}}", "nothing"],
        &["images", "--format", "table {{.Repository}}", "--digests"],
        &["images", "--format", "{{.ID}} {{.Repository}}:{{.Tag}} {{.Digest}} {{.Size}} {{.CreatedAt}}"],
        &["images", "--format", "{{json .Tag}} {{upper .Repository}}", "--no-trunc"],
    ] {
        let (ours, theirs) = (d.cli(words)?, docker_ok(&d, words)?);
        // Docker's client lists the repositories of one image in no order; that of images shows with `-q`.
        let [mut a, mut b] = [ageless(&ours.out), ageless(&theirs)];
        let titled = words.contains(&"--format") || words.contains(&"-q") || a.first() == b.first();
        ensure!(titled, "{words:?}:\n{}\n{theirs}", ours.out);
        a.sort();
        b.sort();
        ensure!(ours.code == 0 && a == b, "{words:?}:\n{}\n{theirs}", ours.out);
        ensure!(!words.contains(&"-q") || ours.out == theirs, "{words:?}:\n{}\n{theirs}", ours.out);
    }
    let words = ["images", "--format", "json"];
    let documents = |text: &str| text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>();
    let (ours, theirs) = (documents(&d.ok(&words)?)?, documents(&docker_ok(&d, &words)?)?);
    ensure!(ours.len() == theirs.len());
    let key = |v: &Value| format!("{}:{}", v["Repository"], v["Tag"]);
    for other in &theirs {
        let own = ours.iter().find(|o| key(o) == key(other)).with_context(|| key(other))?;
        for (name, value) in other.as_object().context("no object")? {
            // Docker's client does not ask for what is shared and used.
            let asked = !matches!(name.as_str(), "CreatedSince" | "SharedSize" | "UniqueSize" | "Containers");
            ensure!(!asked || own[name] == *value, "{name}: {own}\n{other}");
        }
    }
    // The hint for a command that was meant; and none for what may well be a name.
    ensure!(d.cli(&["images", "prune"])?.err.contains("did you mean \"dhow image prune\"?"));
    ensure!(d.cli(&["images", "nothing"])?.err.is_empty());
    Ok(())
}

/// Loads busybox once more, known by the digest of its manifest in a repository of its own; gives the digest.
fn load_by_digest(d: &Daemon, repository: &str) -> Result<String> {
    let dir = d.dir.path().join("by-digest");
    std::fs::create_dir_all(&dir)?;
    let file = dir.join("a.tar");
    d.ok(&["save", "-o", &file.display().to_string(), "busybox"])?;
    let tar = |flag: &str, names: &[&str]| -> Result<()> {
        let status = Command::new("tar").arg("-C").arg(&dir).arg(flag).arg(&file).args(names).status()?;
        ensure!(status.success(), "tar {flag}");
        Ok(())
    };
    tar("-xf", &[])?;
    let index = dir.join("index.json");
    let mut document: Value = serde_json::from_slice(&std::fs::read(&index)?)?;
    let entry = &mut document["manifests"][0];
    let digest = entry["digest"].as_str().context("no digest")?.to_owned();
    entry["annotations"] = serde_json::json!({ "io.containerd.image.name": format!("{repository}@{digest}") });
    std::fs::write(&index, document.to_string())?;
    tar("-cf", &["oci-layout", "index.json", "blobs"])?;
    let said = d.ok(&["load", "-i", &file.display().to_string()])?;
    ensure!(said == format!("Loaded image: {repository}@{digest}"), "{said}");
    Ok(digest)
}

fn digests_have_rows(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let digest = load_by_digest(&d, "example.com/team/box")?;
    let same = load_by_digest(&d, "busybox")?;
    ensure!(same == digest);
    for words in [
        &["images", "--digests"][..],
        &["images"],
        &["images", "--digests", "--no-trunc", "busybox"],
        &["images", "--digests", "example.com/team/box"],
        &["images", "--digests", "--filter", "dangling=true"],
        &["images", "--digests", "--filter", "dangling=false"],
        &["images", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"],
    ] {
        // Docker's client lists the repositories of one image in no order.
        let set = |text: &str| ageless(text).into_iter().collect::<BTreeSet<_>>();
        let (ours, theirs) = (d.ok(words)?, docker_ok(&d, words)?);
        ensure!(set(&ours) == set(&theirs), "{words:?}:\n{ours}\n{theirs}");
    }
    let known: Value = serde_json::from_str(&d.ok(&["inspect", "-f", "{{json .RepoDigests}}", "busybox"])?)?;
    ensure!(
        known == serde_json::json!([format!("busybox@{digest}"), format!("example.com/team/box@{digest}")]),
        "{known}"
    );
    let by_digest = format!("example.com/team/box@{digest}");
    ensure!(d.ok(&["run", "--rm", &by_digest, "echo", "by digest"])? == "by digest");
    // The last tag of a repository takes its digests along; the image stays under the other's.
    let said = d.ok(&["rmi", "busybox"])?;
    ensure!(said == format!("Untagged: busybox:latest\nUntagged: busybox@{digest}"), "{said}");
    ensure!(d.ok(&["images", "-q", "--filter", "dangling=true"])?.len() == 12, "a digest alone is no name");
    let pruned = d.ok(&["image", "prune", "-f"])?;
    ensure!(pruned.contains(&format!("untagged: {by_digest}\ndeleted: sha256:")), "{pruned}");
    Ok(())
}

fn the_last_use_is_shown(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let used = |name: &str| d.ok(&["images", "--format", "{{.LastUsed}}|{{.LastUsedAt}}", name]);
    ensure!(used("busybox")? == "never|", "{}", used("busybox")?);
    d.ok(&["run", "--rm", "busybox", "true"])?;
    let now = used("busybox")?;
    ensure!(now.contains(" ago|20"), "{now}");
    age(&d, &[("image", "busybox", "30")])?;
    ensure!(used("busybox")?.starts_with("4 weeks ago|"), "{}", used("busybox")?);
    let table = d.ok(&["images", "--format", "table {{.Repository}}\\t{{.LastUsed}}", "busybox"])?;
    ensure!(table == "REPOSITORY   LAST USED\nbusybox      4 weeks ago", "{table}");
    ensure!(d.inspect("busybox")?["Metadata"]["LastUsed"].as_str().is_some_and(|t| t.starts_with("20")));
    Ok(())
}

fn counts_and_shared_sizes(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["run", "--name", "one", "busybox", "sh", "-c", "head -c 5000 /bin/busybox > /f"])?;
    d.ok(&["commit", "one", "child"])?;
    d.ok(&["create", "--name", "two", "busybox"])?;
    let list = |query: &str| -> Result<Vec<Value>> {
        let (status, _, body) =
            d.http("GET", &format!("{query}&filters=%7B%22reference%22%3A%5B%22busybox%22%2C%22child%22%5D%7D"), "")?;
        ensure!(status == 200, "{body}");
        let mut all: Vec<Value> = serde_json::from_str(body.trim())?;
        all.sort_by_key(|i| i["RepoTags"][0].to_string());
        Ok(all)
    };
    let with = list("/v1.52/images/json?shared-size=1")?;
    let (busybox, child) = (&with[0], &with[1]);
    ensure!(busybox["SharedSize"] == busybox["Size"] && child["SharedSize"] == busybox["Size"], "{busybox} {child}");
    ensure!(child["Size"].as_i64().zip(busybox["Size"].as_i64()).is_some_and(|(c, b)| c == b + 5000), "{child}");
    ensure!(busybox["Containers"] == 2 && child["Containers"] == 0, "{busybox} {child}");
    for query in ["/v1.50/images/json?x=1", "/v1.41/images/json?shared-size=1"] {
        let old = list(query)?;
        ensure!(old.iter().all(|i| i["SharedSize"] == -1 && i["Containers"] == -1), "{query}: {old:?}");
    }
    let shown = d.ok(&["images", "--format", "{{.Containers}} {{.UniqueSize}}", "child"])?;
    ensure!(shown == "0 5kB", "{shown}");
    Ok(())
}

fn a_tree_of_names(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    d.ok(&["rmi", "dhow/hello"])?;
    d.ok(&["tag", "busybox", "also:1"])?;
    d.ok(&["create", "--name", "user", "busybox"])?;
    let nameless = image(&d, "", 8, 1, &[])?;
    let (id, i) = (d.ok(&["images", "-q", "busybox"])?, d.inspect("busybox")?);
    let platform =
        format!("{}/{}", i["Os"].as_str().unwrap_or_default(), i["Architecture"].as_str().unwrap_or_default());
    let tree = d.ok(&["images", "--tree"])?;
    let lines: Vec<Vec<&str>> = tree.lines().map(|l| l.split_whitespace().collect()).collect();
    ensure!(lines[0] == ["IMAGE", "ID", "DISK", "USAGE", "CONTENT", "SIZE", "EXTRA"], "{tree}");
    ensure!(lines[1] == ["also:1"] && lines[2][..2] == ["busybox:latest", &id] && lines[2][4..] == ["U"], "{tree}");
    ensure!(lines[3][..3] == ["└─", &platform, &id] && lines[4].is_empty(), "{tree}");
    ensure!(lines[5][..2] == ["<untagged>", &nameless[7..19]] && lines[5].len() == 4, "{tree}");
    let one = d.ok(&["image", "ls", "--tree", "--filter", "dangling=false"])?;
    ensure!(!one.contains("<untagged>") && one.contains("also:1"), "{one}");
    docker_ok(&d, &["images", "--tree"])?;
    for flag in ["--quiet", "--no-trunc", "--digests"] {
        d.cli(&["images", "--tree", flag])?.fails(1, &[flag, "not yet supported with --tree"])?;
    }
    Ok(())
}

fn what_fails_fails_as_with_docker(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.daemon()?;
    for (words, code, part) in [
        (&["images", "--filter", "dangling"][..], 125, "bad format of filter (expected name=value)"),
        (&["images", "--filter", "dangling=maybe"], 1, "dangling=maybe"),
        (&["images", "--filter", "colour=red"], 1, "invalid filter 'colour'"),
        (&["images", "--filter", "before=nothing"], 1, "No such image: nothing:latest"),
        (&["images", "--filter", "since=nothing:1"], 1, "No such image: nothing:1"),
        (&["images", "--filter", "until=soon"], 1, "until=soon"),
        (&["images", "--filter", "reference=[a"], 1, "syntax error in pattern"),
        (&["images", "--format", "{{.Nope}}"], 1, "Nope"),
        (&["images", "--format", "{{.ID"], 1, "unclosed action"),
        (&["images", "a", "b"], 1, ""),
        (&["images", "--nope"], 125, "unknown flag: --nope"),
        (&["image", "inspect"], 1, ""),
        (&["image", "inspect", "nothing"], 1, "No such image: nothing:latest"),
        (&["image", "inspect", "-f", "{{.Id", "busybox"], 64, "template parsing error: "),
        (&["image", "inspect", "-f", "{{.Nope}}", "busybox"], 1, "template parsing error: "),
        (&["image", "inspect", "--platform", "linux/s390x", "busybox"], 1, "does not match the specified platform"),
        (&["rmi"], 1, ""),
        (&["rmi", "nothing"], 1, "No such image: nothing:latest"),
        (&["rmi", "Upper"], 1, "must be lowercase"),
    ] {
        d.cli(words)?.fails(code, &[part]).with_context(|| format!("{words:?}"))?;
        let theirs = docker(&d, words)?.output()?;
        let err = String::from_utf8_lossy(&theirs.stderr).into_owned();
        ensure!(
            theirs.status.code() == Some(code) && err.contains(part),
            "docker {words:?}: {:?} {err}",
            theirs.status
        );
    }
    let (status, _, body) = d.http("GET", "/v1.54/images/json?identity=1", "")?;
    ensure!(status == 501 && body.contains("identity"), "{status} {body}");
    Ok(())
}

fn inspect_of_several(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    d.ok(&["tag", "busybox", "inspected:1"])?;
    for words in [
        &["image", "inspect", "busybox", "dhow/hello"][..],
        &["image", "inspect", "busybox", "nothing", "inspected:1"],
        &["image", "inspect", "nothing"],
        &[
            "image",
            "inspect",
            "-f",
            "{{.Id}} {{.Os}} {{json .RepoTags}} {{len .RootFS.Layers}}",
            "busybox",
            "nothing",
            "dhow/hello",
        ],
        &["image", "inspect", "--format", "{{range .RepoTags}}{{.}} {{end}}", "inspected:1"],
        &["image", "inspect", "--format", "json", "busybox"],
    ] {
        // In one version: the client's newest is not dhow's.
        let ours = d.command(words).env("DOCKER_API_VERSION", "1.50").output()?;
        let theirs = docker(&d, words)?.env("DOCKER_API_VERSION", "1.50").output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(ours.status.code() == theirs.status.code(), "{words:?}: {:?} {:?}", ours.status, theirs.status);
        let (a, b) = (text(&ours.stdout), text(&theirs.stdout));
        match (serde_json::from_str::<Value>(&a), serde_json::from_str::<Value>(&b)) {
            (Ok(a), Ok(b)) => ensure!(a == b, "{words:?}:\n{a}\n{b}"),
            _ => ensure!(a == b, "{words:?}:\n{a}\n{b}"),
        }
        ensure!(
            text(&ours.stderr) == text(&theirs.stderr),
            "{words:?}: {} {}",
            text(&ours.stderr),
            text(&theirs.stderr)
        );
    }
    d.ok(&["rmi", "inspected:1"])?;
    Ok(())
}

fn removal_of_several(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    for dockers in [false, true] {
        let run = |words: &[&str]| -> Result<(Option<i32>, String, String)> {
            let out = if dockers { docker(&d, words)?.output()? } else { d.command(words).output()? };
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            Ok((out.status.code(), text(out.stdout), text(out.stderr)))
        };
        let first = image(&d, "first:1", 8, 1, &[])?;
        image(&d, "second:1", 8, 3, &[])?;
        let (code, out, err) = run(&["image", "rm", "first:1", "nothing", "second:1"])?;
        ensure!(code == Some(1) && err.contains("No such image: nothing:latest"), "{code:?} {err}");
        ensure!(out.starts_with(&format!("Untagged: first:1\nDeleted: {first}\n")), "{out}");
        ensure!(out.contains("Untagged: second:1\nDeleted: "), "one that is missing does not keep the next: {out}");
        let (code, out, err) = run(&["rmi", "-f", "nothing"])?;
        ensure!(code == Some(0) && out.is_empty() && err.contains("No such image"), "{code:?} {out} {err}");
        image(&d, "third:1", 8, 5, &[])?;
        d.ok(&["tag", "third:1", "third:2"])?;
        let id = d.ok(&["images", "-q", "--no-trunc", "third:1"])?;
        let (code, _, err) = run(&["rmi", &id])?;
        ensure!(code == Some(1) && err.contains("must be forced"), "{code:?} {err}");
        let (code, out, _) = run(&["rmi", "--no-prune", "third:2"])?;
        ensure!(code == Some(0) && out == "Untagged: third:2\n", "{code:?} {out}");
        let (code, out, err) = run(&["rmi", "--platform", "linux/s390x", "third:1"])?;
        ensure!(code == Some(1) && out.is_empty() && err.contains("linux/s390x"), "{code:?} {out} {err}");
        let platform = d.ok(&["inspect", "-f", "{{.Os}}/{{.Architecture}}", "third:1"])?;
        let (code, out, err) = run(&["rmi", "--platform", &platform, "third:1"])?;
        ensure!(code == Some(0) && out.contains(&format!("Deleted: {id}")), "{code:?} {out} {err}");
    }
    Ok(())
}
