//! Images in and out: save, load for a platform.

use crate::daemon::Daemon;
use crate::runner::{World, skip};
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

super::cases!("archive":
    saved_and_loaded_again, saved_twice_is_the_same, a_save_that_breaks_off_leaves_no_file, several_images_and_ids,
    load_for_a_platform, compressed_archives, other_tools_read_what_is_saved, docker_saves_and_loads,
);

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What lies in an archive, unpacked by tar.
fn unpacked(d: &Daemon, archive: &Path, name: &str) -> Result<PathBuf> {
    let to = d.dir.path().join(name);
    std::fs::create_dir(&to)?;
    let status = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&to).status()?;
    ensure!(status.success(), "tar {}", archive.display());
    Ok(to)
}

fn json(path: &Path) -> Result<serde_json::Value> {
    serde_json::from_slice(&std::fs::read(path)?).with_context(|| text(path))
}

fn saved_and_loaded_again(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    let file = d.dir.path().join("saved.tar");
    ensure!(d.ok(&["image", "save", "-o", &text(&file), "busybox"])?.is_empty(), "save prints nothing");
    let files = unpacked(&d, &file, "saved")?;
    let manifest = json(&files.join("manifest.json"))?;
    ensure!(manifest[0]["RepoTags"][0] == "busybox:latest", "{manifest}");
    ensure!(manifest[0]["Config"] == format!("blobs/sha256/{}", &id[7..]), "{manifest}");
    for layer in manifest[0]["Layers"].as_array().context("no layers")? {
        ensure!(files.join(layer.as_str().unwrap_or_default()).is_file(), "{layer}");
    }
    let index = json(&files.join("index.json"))?;
    let names = &index["manifests"][0]["annotations"];
    ensure!(names["io.containerd.image.name"] == "docker.io/library/busybox:latest", "{index}");
    ensure!(names["org.opencontainers.image.ref.name"] == "latest", "{index}");
    d.ok(&["rmi", "busybox"])?;
    ensure!(d.ok(&["load", "-i", &text(&file)])? == "Loaded image: busybox:latest");
    ensure!(d.ok(&["images", "-q", "--no-trunc", "busybox"])? == id);
    ensure!(d.ok(&["run", "--rm", "busybox", "echo", "back"])? == "back");
    Ok(())
}

fn saved_twice_is_the_same(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let save = || -> Result<Vec<u8>> {
        let out = d.command(&["save", "busybox", "dhow/hello"]).stderr(Stdio::inherit()).output()?;
        ensure!(out.status.success());
        Ok(out.stdout)
    };
    ensure!(save()? == save()?);
    Ok(())
}

fn a_save_that_breaks_off_leaves_no_file(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    // A file of the layer changes, as on a disk that forgets.
    let damaged = std::fs::read_dir(d.root().join("layers"))?
        .filter_map(|e| Some(e.ok()?.path().join("bin/busybox")))
        .find(|p| p.is_file())
        .context("no busybox in the store")?;
    let size = std::fs::metadata(&damaged)?.len();
    std::fs::write(&damaged, vec![0; usize::try_from(size)?])?;
    let file = d.dir.path().join("broken.tar");
    d.cli(&["save", "-o", &text(&file), "busybox"])?.fails(1, &["broke the archive off"])?;
    ensure!(!file.exists(), "a file that is not whole has the final name");
    let left: Vec<_> =
        std::fs::read_dir(d.dir.path())?.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    ensure!(left.iter().all(|name| !name.contains("broken.tar")), "{left:?}");
    let out = d.command(&["save", "busybox"]).output()?;
    ensure!(out.status.code() == Some(1), "{}", out.status);
    ensure!(d.log().contains("is damaged"), "{}", d.log());
    // What was there before stays.
    std::fs::write(&file, "older")?;
    d.cli(&["save", "-o", &text(&file), "busybox"])?.fails(1, &[])?;
    ensure!(std::fs::read_to_string(&file)? == "older");
    Ok(())
}

fn several_images_and_ids(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    d.ok(&["tag", "busybox", "busybox:second"])?;
    let file = d.dir.path().join("all.tar");
    d.ok(&["save", "--output", &text(&file), "busybox", "dhow/hello:latest"])?;
    let files = unpacked(&d, &file, "all")?;
    let manifest = json(&files.join("manifest.json"))?;
    ensure!(manifest.as_array().is_some_and(|m| m.len() == 2), "{manifest}");
    ensure!(manifest[0]["RepoTags"] == serde_json::json!(["busybox:latest", "busybox:second"]), "{manifest}");
    d.ok(&["save", "-o", &text(&file), &id])?;
    let files = unpacked(&d, &file, "id")?;
    ensure!(json(&files.join("manifest.json"))?[0]["RepoTags"].is_null());
    ensure!(!files.join("repositories").exists());
    d.ok(&["rmi", "-f", &id])?;
    ensure!(d.ok(&["load", "-i", &text(&file)])? == format!("Loaded image ID: {id}"));

    d.cli(&["save", "-o", &text(&file), "nothing"])?.fails(1, &["No such image: nothing:latest"])?;
    d.cli(&["save", "-o", "/no/such/place/x.tar", &id])?.fails(1, &["invalid output path", "does not exist"])?;
    d.cli(&["save", "--platform", "linux/s390x", &id])?
        .fails(1, &["no suitable export target found for platform linux/s390x"])?;
    d.cli(&["save"])?.fails(1, &["requires at least 1 argument"])?;
    let (status, _, body) = d.http("GET", "/images/get?names=nothing", "")?;
    ensure!(status == 404 && body.contains("No such image: nothing:latest"), "{status} {body}");
    let (status, _, body) = d.http("GET", "/v1.48/images/busybox/get?platform=%7B%22os%22%3A%22linux%22%7D", "")?;
    ensure!(status == 400 && body.contains("both OS and Architecture"), "{status} {body}");
    Ok(())
}

fn load_for_a_platform(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let file = d.dir.path().join("saved.tar");
    d.ok(&["save", "-o", &text(&file), "busybox"])?;
    let id = d.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    let platform = format!("linux/{}", d.inspect("busybox")?["Architecture"].as_str().context("no architecture")?);

    // The same image for another machine, and both in one index.
    let files = unpacked(&d, &file, "files")?;
    let blob = |bytes: &[u8]| -> Result<(String, usize)> {
        let sum = {
            let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            std::io::Write::write_all(&mut child.stdin.take().context("no stdin")?, bytes)?;
            String::from_utf8(child.wait_with_output()?.stdout)?[..64].to_owned()
        };
        std::fs::write(files.join("blobs/sha256").join(&sum), bytes)?;
        Ok((format!("sha256:{sum}"), bytes.len()))
    };
    let mut index = json(&files.join("index.json"))?;
    let native = index["manifests"][0].clone();
    let path =
        |digest: &serde_json::Value| files.join("blobs").join(digest.as_str().unwrap_or_default().replace(':', "/"));
    let mut manifest = json(&path(&native["digest"]))?;
    let mut config = json(&path(&manifest["config"]["digest"]))?;
    config["architecture"] = "s390x".into();
    let (digest, size) = blob(config.to_string().as_bytes())?;
    let foreign_id = digest.clone();
    manifest["config"] =
        serde_json::json!({"mediaType": manifest["config"]["mediaType"], "digest": digest, "size": size});
    let (digest, size) = blob(manifest.to_string().as_bytes())?;
    let mut foreign = native.clone();
    foreign["digest"] = digest.into();
    foreign["size"] = size.into();
    foreign["platform"] = serde_json::json!({"os": "linux", "architecture": "s390x"});
    let both = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [native, foreign],
    });
    let (digest, size) = blob(both.to_string().as_bytes())?;
    index["manifests"] = serde_json::json!([{
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": size,
        "annotations": native["annotations"],
    }]);
    std::fs::write(files.join("index.json"), index.to_string())?;
    std::fs::remove_file(files.join("manifest.json"))?;
    let both = d.dir.path().join("both.tar");
    ensure!(Command::new("tar").arg("-C").arg(&files).arg("-cf").arg(&both).arg(".").status()?.success());

    let loaded = |words: &[&str]| -> Result<String> {
        d.ok(&[&["load", "-i", &text(&both)], words].concat())?;
        d.ok(&["images", "-q", "--no-trunc", "busybox"])
    };
    ensure!(loaded(&[])? == id, "the platform of this machine without being asked");
    ensure!(loaded(&["--platform", "linux/s390x"])? == foreign_id);
    ensure!(d.inspect("busybox")?["Architecture"] == "s390x");
    ensure!(loaded(&["--platform", &platform])? == id);
    d.cli(&["load", "-i", &text(&both), "--platform", "linux/ppc64le"])?
        .fails(1, &["requested platform (linux/ppc64le) not found", "linux/s390x"])?;
    d.cli(&["load", "-i", &text(&file), "--platform", "linux/s390x"])?
        .fails(1, &["requested platform (linux/s390x) not found"])?;
    d.cli(&["load", "-i", &text(&file), "--platform", "linux/a b"])?.fails(125, &["invalid platform"])?;
    Ok(())
}

fn compressed_archives(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    for (kind, magic) in [("gzip", &[0x1f, 0x8b][..]), ("zstd", &[0x28, 0xb5, 0x2f, 0xfd])] {
        let file = d.dir.path().join(kind);
        d.ok(&["save", "--compress", kind, "-o", &text(&file), "busybox"])?;
        let bytes = std::fs::read(&file)?;
        ensure!(bytes.starts_with(magic), "{kind}");
        d.ok(&["rmi", "busybox"])?;
        let r = d.with_input(&["load"], &bytes)?;
        ensure!(r.code == 0 && r.out == "Loaded image: busybox:latest\n", "{kind}: {r:?}");
        ensure!(d.ok(&["images", "-q", "--no-trunc", "busybox"])? == id, "{kind}");
    }
    d.cli(&["save", "--compress", "xz", "-o", "/dev/null", "busybox"])?.fails(125, &["xz"])?;
    Ok(())
}

fn other_tools_read_what_is_saved(w: &World) -> Result<()> {
    let there =
        |tool: &str| Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !there("skopeo") && !there("podman") {
        return skip("neither skopeo nor podman is installed");
    }
    let d = w.daemon()?;
    let file = d.dir.path().join("for-others.tar");
    d.ok(&["save", "-o", &text(&file), "busybox"])?;
    let id = d.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    if there("skopeo") {
        for form in ["docker-archive", "oci-archive"] {
            let out = Command::new("skopeo")
                .args(["inspect", "--config", "--raw", &format!("{form}:{}", text(&file))])
                .output()?;
            ensure!(out.status.success(), "{form}: {}", String::from_utf8_lossy(&out.stderr));
            let config = std::fs::read(d.root().join("blobs/sha256").join(&id[7..]))?;
            ensure!(out.stdout == config, "{form}: another configuration");
        }
    }
    if there("podman") {
        let root = d.dir.path().join("podman");
        let place = [format!("--root={}", text(&root.join("root"))), format!("--runroot={}", text(&root.join("run")))];
        let podman = |words: &[&str]| -> Result<String> {
            let out = Command::new("podman").args(&place).arg("--storage-driver=vfs").args(words).output()?;
            ensure!(out.status.success(), "podman {words:?}: {}", String::from_utf8_lossy(&out.stderr));
            Ok(String::from_utf8(out.stdout)?.trim().to_owned())
        };
        podman(&["load", "-q", "-i", &text(&file)])?;
        ensure!(podman(&["images", "-q", "--no-trunc", "busybox"])? == id);
    }
    Ok(())
}

fn docker_saves_and_loads(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    let file = text(&d.dir.path().join("by-docker.tar"));
    let ok = |words: &[&str]| -> Result<String> {
        let out = super::clients::docker(&d, words)?.output()?;
        ensure!(out.status.success(), "docker {words:?}: {}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8(out.stdout)?.trim_end().to_owned())
    };
    let platform = format!("linux/{}", d.inspect("busybox")?["Architecture"].as_str().context("no architecture")?);
    // Docker's client has the flag since version 28; what an older one sends must work as well.
    let flag = ["--platform", platform.as_str()];
    let flag: &[&str] = if ok(&["save", "--help"])?.contains(flag[0]) { &flag } else { &[] };
    ok(&[&["save", "-o", &file], flag, &["busybox", "dhow/hello"]].concat())?;
    d.ok(&["rmi", "busybox"])?;
    ensure!(ok(&[&["load", "-i", &file], flag].concat())?.contains("Loaded image: busybox:latest"));
    ensure!(d.ok(&["images", "-q", "--no-trunc", "busybox"])? == id);
    Ok(())
}
