//! load, images, tag, rmi, inspect, and what they refuse.

use crate::daemon::Daemon;
use crate::runner::World;
use anyhow::{Result, ensure};
use std::process::Command;

super::cases!("images":
    list_tag_and_remove, in_use_is_kept, load_forms, broken_archives_leave_nothing, inspect_documents, wrong_platform_is_named, platforms_asked_of_images, what_cannot_be_read_is_named, hello_comes_back,
);

fn list_tag_and_remove(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let table = d.ok(&["images"])?;
    ensure!(table.starts_with("REPOSITORY") && table.contains("busybox") && table.contains("dhow/hello"), "{table}");
    let id = d.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    ensure!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    d.ok(&["tag", "busybox", "example.com:5000/team/box:v1"])?;
    ensure!(
        d.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}", "example.com:5000/team/box"])?
            == "example.com:5000/team/box:v1"
    );
    ensure!(d.ok(&["inspect", "-f", "{{.Id}}", "example.com:5000/team/box:v1"])? == id);
    ensure!(d.ok(&["rmi", "example.com:5000/team/box:v1"])? == "Untagged: example.com:5000/team/box:v1");
    d.ok(&["tag", &id, "second"])?;
    d.cli(&["rmi", &id])?.fails(1, &["must be forced", "multiple repositories"])?;
    let removed = d.ok(&["rmi", "-f", &id])?;
    ensure!(removed.contains("Untagged: busybox:latest") && removed.contains(&format!("Deleted: {id}")), "{removed}");
    d.cli(&["run", "--rm", "--pull", "never", "busybox", "true"])?.fails(125, &["No such image: busybox:latest"])?;
    d.cli(&["rmi", "busybox"])?.fails(1, &["No such image: busybox:latest"])?;
    d.load("busybox")?;
    ensure!(d.ok(&["run", "--rm", "busybox", "echo", "again"])? == "again");
    Ok(())
}

fn in_use_is_kept(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    let short = &id[..12];
    d.cli(&["rmi", "busybox"])?.fails(1, &["conflict", short])?;
    d.cli(&["rmi", "-f", &d.ok(&["images", "-q", "busybox"])?])?
        .fails(1, &["cannot be forced", "running container", short])?;
    ensure!(d.ok(&["exec", &id, "echo", "alive"])? == "alive");
    Ok(())
}

fn load_forms(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let plain = d.archive("busybox");
    let dir = d.dir.path().join("forms");
    std::fs::create_dir(&dir)?;
    let id = d.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    let gz = dir.join("b.tar.gz");
    let status =
        Command::new("sh").arg("-c").arg(format!("gzip -c {} > {}", plain.display(), gz.display())).status()?;
    ensure!(status.success());
    d.ok(&["rmi", "busybox"])?;
    ensure!(d.ok(&["load", "-i", &gz.display().to_string()])? == "Loaded image: busybox:latest");
    ensure!(d.ok(&["images", "-q", "--no-trunc", "busybox"])? == id, "the id is the digest of the configuration");
    d.ok(&["rmi", "busybox"])?;
    let r = d.with_input(&["load"], &std::fs::read(&plain)?)?;
    ensure!(r.code == 0 && r.out.contains("Loaded image: busybox:latest"), "{r:?}");
    Ok(())
}

fn broken_archives_leave_nothing(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["rmi", "busybox"])?;
    let whole = std::fs::read(d.archive("busybox"))?;
    let before = tree(&d)?;
    let half = whole[..whole.len() / 2].to_vec();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    for (name, bytes, words) in [
        ("half", half, "unexpected"),
        ("flipped", flipped, ""),
        ("empty", Vec::new(), ""),
        ("garbage", vec![7; 5000], ""),
    ] {
        let file = d.dir.path().join(name);
        std::fs::write(&file, bytes)?;
        let r = d.cli(&["load", "-i", &file.display().to_string()])?;
        ensure!(r.code == 1 && !r.err.trim().is_empty(), "{name}: {r:?} {words}");
    }
    d.cli(&["load", "-i", "/does/not/exist"])?.fails(1, &["/does/not/exist", "no such file"])?;
    ensure!(d.ok(&["images", "-q", "busybox"])?.is_empty());
    crate::daemon::until("what was half done to go", || Ok((tree(&d)? == before).then_some(())))?;
    Ok(())
}

/// Names of everything that lasts in the store.
fn tree(d: &Daemon) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in ["layers", "blobs/sha256", "recipes"] {
        for entry in std::fs::read_dir(d.root().join(folder)).into_iter().flatten() {
            names.push(format!("{folder}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    names.sort();
    Ok(names)
}

fn inspect_documents(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let i = d.inspect("dhow/hello")?;
    ensure!(
        i["RepoTags"][0] == "dhow/hello:latest"
            && i["Os"] == "linux"
            && i["RootFS"]["Layers"].as_array().is_some_and(|l| l.len() == 1),
        "{i}"
    );
    ensure!(i["Size"].as_i64().is_some_and(|s| s > 0), "{i}");
    d.cli(&["inspect", "--type", "image", "nothing"])?.fails(1, &["No such image: nothing:latest"])?;
    Ok(())
}

fn wrong_platform_is_named(w: &World) -> Result<()> {
    let d = w.daemon()?;
    d.cli(&["run", "--rm", "--platform", "linux/s390x", "busybox", "true"])?.fails(125, &["linux/s390x", "linux/"])?;
    Ok(())
}

fn what_cannot_be_read_is_named(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let dir = d.dir.path().join("no-archive");
    std::fs::create_dir_all(&dir)?;
    let dir = dir.display().to_string();
    d.cli(&["load", "-i", &dir])?.fails(1, &["read the archive", "is a directory"])?;
    d.cli(&["import", &dir])?.fails(1, &["is a directory"])?;
    Ok(())
}

fn platforms_asked_of_images(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let its = d.inspect("busybox")?["Architecture"].as_str().unwrap_or_default().to_owned();
    let asked = |arch: &str| format!("%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22{arch}%22%7D");
    for (method, path, parameter) in [
        ("GET", "/v1.52/images/busybox/json", "platform"),
        ("GET", "/v1.52/images/busybox/history", "platform"),
        ("DELETE", "/v1.52/images/busybox", "platforms"),
    ] {
        let (status, _, body) = d.http(method, &format!("{path}?{parameter}={}", asked("s390x")), "")?;
        ensure!(
            status == 404 && body.contains("does not match the specified platform (linux/s390x)"),
            "{path}: {body}"
        );
        let (status, _, body) = d.http(method, &format!("{path}?{parameter}={}", asked(&its)), "")?;
        ensure!(status == 200, "{path}: {body}");
    }
    let (status, _, body) = d.http("GET", "/v1.52/images/json?manifests=1", "")?;
    ensure!(status == 200 && !body.contains("busybox"), "{status} {body}");
    Ok(())
}

fn hello_comes_back(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["rmi", "dhow/hello"])?;
    d.kill()?;
    d.up()?;
    d.ok(&["run", "--rm", "dhow/hello"])?;
    Ok(())
}
