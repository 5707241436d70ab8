//! Images made here: import and commit.

use super::clients::{docker, python};
use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::path::PathBuf;
use std::process::{Command, Stdio};

super::cases!("making":
    import_in_every_wrapping, import_refuses_by_name, commit_and_run, commit_keeps_deletions_and_modes,
    an_unchanged_container, commit_refuses_by_name, a_container_goes_on_after_its_commit, a_killed_daemon_leaves_no_frozen_container,
    committed_is_saved_and_loaded, docker_commits_and_imports, docker_py_saves_commits_and_imports,
);

/// A root file system of busybox, as an archive.
fn root_fs(d: &Daemon) -> Result<PathBuf> {
    let dir = d.dir.path().join("rootfs");
    crate::daemon::busybox_root(&dir)?;
    std::fs::write(dir.join("hello"), "from the archive\n")?;
    let file = d.dir.path().join("rootfs.tar");
    let status = Command::new("tar").arg("-C").arg(&dir).arg("-cf").arg(&file).arg(".").status()?;
    ensure!(status.success());
    Ok(file)
}

/// What `program` makes of a file.
fn filtered(program: &[&str], file: &PathBuf) -> Result<Option<Vec<u8>>> {
    let input = std::fs::File::open(file)?;
    match Command::new(program[0]).args(&program[1..]).stdin(input).stderr(Stdio::inherit()).output() {
        Ok(out) if out.status.success() => Ok(Some(out.stdout)),
        _ => Ok(None),
    }
}

fn import_in_every_wrapping(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let file = root_fs(&d)?;
    let words = ["-c", "CMD [\"/bin/busybox\", \"cat\", \"/hello\"]", "--change", "ENV A=1 B='x y'", "-m", "by hand"];
    let id = d.ok(&[&["import"], &words[..], &[&file.display().to_string(), "mine:v1"]].concat())?;
    ensure!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    ensure!(d.ok(&["run", "--rm", "mine:v1"])? == "from the archive");
    ensure!(d.ok(&["run", "--rm", "mine:v1", "/bin/busybox", "sh", "-c", "echo $A $B"])? == "1 x y");
    let i = d.inspect("mine:v1")?;
    ensure!(
        i["Id"] == *id && i["Comment"] == "by hand" && i["RootFS"]["Layers"].as_array().is_some_and(|l| l.len() == 1),
        "{i}"
    );
    let layer = i["RootFS"]["Layers"][0].clone();
    for (name, program) in [("gz", &["gzip", "-c"][..]), ("zst", &["zstd", "-qc"])] {
        let Some(bytes) = filtered(program, &file)? else { continue };
        let r = d.with_input(&["import", "-", &format!("mine:{name}")], &bytes)?;
        ensure!(r.code == 0, "{name}: {r:?}");
        let i = d.inspect(&format!("mine:{name}"))?;
        ensure!(i["RootFS"]["Layers"][0] == layer && i["Comment"] == "Imported from -", "{name}: {i}");
    }
    // Without a name it is known by its id; the name moves to the newest.
    let nameless = d.ok(&["import", &file.display().to_string()])?;
    ensure!(d.inspect(&nameless)?["RepoTags"].as_array().is_some_and(Vec::is_empty));
    let second = d.ok(&["image", "import", "--platform", "linux/s390x", &file.display().to_string(), "mine:v1"])?;
    ensure!(second != id && d.inspect("mine:v1")?["Id"] == *second && d.inspect("mine:v1")?["Architecture"] == "s390x");
    Ok(())
}

fn import_refuses_by_name(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let before = d.ok(&["images", "-q", "--no-trunc"])?;
    let fails = |words: &[&str], input: &[u8], part: &str| -> Result<()> {
        let r = d.with_input(&[&["import"], words].concat(), input)?;
        ensure!(r.code == 1 && r.err.contains(part) && r.out.is_empty(), "{words:?} {part}: {r:?}");
        Ok(())
    };
    fails(&["-"], b"", "empty")?;
    fails(&["-"], &[b'x'; 3000], "no tar archive")?;
    fails(&["-"], b"BZh91AY&SY........", "bzip2")?;
    fails(&["-"], b"\xfd7zXZ\0..........", "xz")?;
    let empty_tar = vec![0; 1024];
    fails(&["-c", "RUN make", "-"], &empty_tar, "RUN is not a valid change command")?;
    fails(&["-c", "EXPOSE x", "-"], &empty_tar, "EXPOSE")?;
    fails(&["-", "Upper:v1"], &empty_tar, "must be lowercase")?;
    fails(&["-", &format!("x@sha256:{}", "0".repeat(64))], &empty_tar, "digest reference")?;
    fails(&["https://example.com/x.tar"], b"", "curl -L https://example.com/x.tar")?;
    fails(&["/no/such/file"], b"", "/no/such/file")?;
    for (path, status, part) in [
        ("/images/create?fromSrc=http%3A%2F%2Fx%2Fy", 501, "importing from a URL"),
        ("/images/create", 400, "fromSrc"),
        ("/images/create?fromSrc=-&platform=a%20b", 400, "invalid platform"),
    ] {
        let (got, _, body) = d.http("POST", path, "")?;
        ensure!(got == status && body.contains(part), "{path}: {got} {body}");
    }
    ensure!(d.ok(&["images", "-q", "--no-trunc"])? == before);
    Ok(())
}

fn commit_and_run(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = d.ok(&[
        "run",
        "-d",
        "-e",
        "KEEP=1",
        "--label",
        "team=sea",
        "-w",
        "/tmp",
        "busybox",
        "sh",
        "-c",
        "echo made > /made; exec sleep 1000",
    ])?;
    until("the container to write", || Ok(d.cli(&["exec", &c, "cat", "/made"])?.out.contains("made").then_some(())))?;
    let id = d.ok(&[
        "commit",
        "-a",
        "Jo <jo@example.org>",
        "-m",
        "a change",
        "-c",
        "ENV KEEP=2 NEW=$KEEP",
        "-c",
        "CMD [\"cat\", \"/made\"]",
        "--change",
        "EXPOSE 80",
        &c,
        "mine:v1",
    ])?;
    ensure!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    ensure!(d.ok(&["run", "--rm", "mine:v1"])? == "made");
    ensure!(d.ok(&["run", "--rm", "mine:v1", "sh", "-c", "echo $KEEP $NEW $PWD"])? == "2 1 /tmp");
    let i = d.inspect("mine:v1")?;
    ensure!(i["Id"] == *id && i["Author"] == "Jo <jo@example.org>" && i["Comment"] == "a change", "{i}");
    ensure!(i["Config"]["Labels"]["team"] == "sea" && i["Config"]["ExposedPorts"]["80/tcp"].is_object(), "{i}");
    ensure!(i["Config"].get("Hostname").is_none(), "an image has no host name: {i}");
    let parent = d.inspect("busybox")?;
    let layers = |v: &serde_json::Value| v["RootFS"]["Layers"].as_array().cloned().unwrap_or_default();
    ensure!(layers(&i).len() == layers(&parent).len() + 1 && layers(&i)[0] == layers(&parent)[0], "{i}");
    let (_, _, old) = d.http("GET", "/v1.44/images/mine:v1/json", "")?;
    ensure!(serde_json::from_str::<serde_json::Value>(&old)?["Parent"] == parent["Id"], "{old}");
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(d.root().join("blobs/sha256").join(&id[7..]))?)?;
    let step = config["history"].as_array().and_then(|h| h.last()).context("no history")?;
    ensure!(
        step["created_by"] == "sh -c echo made > /made; exec sleep 1000" && step["author"] == "Jo <jo@example.org>",
        "{step}"
    );

    // On top of it, and the name moves.
    let c = d.ok(&["create", "mine:v1", "rm", "/made"])?;
    d.ok(&["start", &c])?;
    ensure!(d.ok(&["wait", &c])? == "0");
    let second = d.ok(&["container", "commit", &c, "mine:v1"])?;
    ensure!(second != id && d.inspect("mine:v1")?["Id"] == *second);
    d.cli(&["run", "--rm", "mine:v1", "cat", "/made"])?.fails(1, &["No such file"])?;
    // The image below may go by name; what is made of it stays.
    d.ok(&["rm", "-f", &c])?;
    ensure!(d.ok(&["run", "--rm", &id, "cat", "/made"])? == "made");
    Ok(())
}

fn commit_keeps_deletions_and_modes(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let script = "rm /etc/passwd; rm -r /var; mkdir /var; echo x > /var/only; ln /var/only /var/second; \
                  ln -s only /var/link; chown 12:34 /var/only; chmod 4711 /var/only; mkfifo /var/pipe; mkdir -m 1777 /sticky";
    let c = d.ok(&["create", "busybox", "sh", "-c", script])?;
    d.ok(&["start", &c])?;
    ensure!(d.ok(&["wait", &c])? == "0", "{}", d.ok(&["logs", &c])?);
    d.ok(&["commit", &c, "changed"])?;
    let look = "ls -ln /var /etc; stat -c '%A %u:%g %h %n' /var/only /var/second /var/pipe /sticky; readlink /var/link";
    let seen = |image: &str| d.ok(&["run", "--rm", image, "sh", "-c", look]);
    let out = seen("changed")?;
    ensure!(!out.contains("passwd"), "{out}");
    for want in [
        "-rws--x--x 12:34 2 /var/only",
        "-rws--x--x 12:34 2 /var/second",
        "prw-r--r-- 0:0 1 /var/pipe",
        "drwxrwxrwt 0:0 2 /sticky",
    ] {
        ensure!(out.contains(want), "{want}: {out}");
    }
    ensure!(
        d.ok(&["run", "--rm", "changed", "ls", "/var"])? == "link\nonly\npipe\nsecond",
        "what was in /var before is hidden"
    );
    Ok(())
}

fn an_unchanged_container(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = d.ok(&["create", "busybox", "true"])?;
    let id = d.ok(&["commit", "-m", "nothing", &c])?;
    let (i, parent) = (d.inspect(&id)?, d.inspect("busybox")?);
    ensure!(i["RootFS"] == parent["RootFS"] && i["Id"] != parent["Id"], "{i}");
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(d.root().join("blobs/sha256").join(&id[7..]))?)?;
    let step = config["history"].as_array().and_then(|h| h.last()).context("no history")?;
    ensure!(step["empty_layer"] == true, "{step}");
    ensure!(d.ok(&["run", "--rm", &id, "echo", "runs"])? == "runs");
    Ok(())
}

fn commit_refuses_by_name(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = d.ok(&["create", "busybox", "true"])?;
    d.cli(&["commit", "nothing"])?.fails(1, &["No such container: nothing"])?;
    d.cli(&["commit", "-c", "ADD a b", &c])?.fails(1, &["ADD is not a valid change command"])?;
    d.cli(&["commit", &c, "UPPER"])?.fails(1, &["must be lowercase"])?;
    d.cli(&["commit", &c, "name:b/a:d"])?.fails(1, &["invalid reference format"])?;
    crate::daemon::busybox_root(&d.dir.path().join("tree"))?;
    let dir = d.dir.path().join("tree").display().to_string();
    let rootfs = d.ok(&["create", "--rootfs", &dir, "/bin/busybox", "true"])?;
    d.cli(&["commit", &rootfs])?.fails(1, &["--rootfs", "export"])?;
    let (status, _, body) = d.http("POST", "/commit", "")?;
    ensure!(status == 400 && body.contains("container"), "{status} {body}");
    let (status, _, body) =
        d.http("POST", &format!("/commit?container={c}&repo=by-http"), r#"{"Cmd":["echo","asked"],"User":"0"}"#)?;
    ensure!(status == 201 && body.contains("sha256:"), "{status} {body}");
    ensure!(d.ok(&["run", "--rm", "by-http"])? == "asked");
    Ok(())
}

/// A container that counts, and what it has counted to.
fn counter(d: &Daemon) -> Result<String> {
    let c = d.ok(&[
        "run",
        "-d",
        "busybox",
        "sh",
        "-c",
        "i=0; while :; do i=$((i+1)); echo $i > /new; mv /new /count; done",
    ])?;
    until("the first number", || Ok(count(d, &c).ok()))?;
    Ok(c)
}

fn count(d: &Daemon, c: &str) -> Result<u64> {
    Ok(d.ok(&["exec", c, "cat", "/count"])?.trim().parse()?)
}

fn goes_on(d: &Daemon, c: &str) -> Result<()> {
    let now = count(d, c)?;
    until("the container to go on", || Ok((count(d, c)? > now).then_some(())))
}

fn a_container_goes_on_after_its_commit(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = counter(&d)?;
    for pause in [&[][..], &["--pause=true"], &["--no-pause"], &["-p=false"]] {
        d.ok(&[&["commit"], pause, &[&c]].concat())?;
        goes_on(&d, &c)?;
    }
    // Also when it fails while the container stands still.
    d.ok(&["exec", &c, "touch", "/.wh.mine"])?;
    d.cli(&["commit", &c])?.fails(1, &[".wh."])?;
    goes_on(&d, &c)?;
    ensure!(!d.root().join("containers").join(&c).join("frozen-by-commit").exists());
    Ok(())
}

fn a_killed_daemon_leaves_no_frozen_container(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = counter(&d)?;
    // Large enough that the commit takes a while; without blocks, it costs nothing to make.
    d.ok(&["exec", &c, "truncate", "-s", "300M", "/large"])?;
    let mark = d.root().join("containers").join(&c).join("frozen-by-commit");
    let mut commit = d.command(&["commit", &c, "never"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    until("the container to be frozen", || Ok(mark.exists().then_some(())))?;
    d.kill()?;
    ensure!(!commit.wait()?.success());
    ensure!(mark.exists(), "the daemon was killed in the middle");
    d.up()?;
    ensure!(!mark.exists());
    goes_on(&d, &c)?;
    d.cli(&["run", "--rm", "--pull", "never", "never", "true"])?.fails(125, &["No such image: never:latest"])?;
    let left = std::fs::read_dir(d.root().join("tmp"))?.count();
    ensure!(left == 0, "{left} things are left in tmp");
    Ok(())
}

fn committed_is_saved_and_loaded(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = d.ok(&["create", "busybox", "sh", "-c", "echo saved > /file; rm /etc/group"])?;
    d.ok(&["start", &c])?;
    d.ok(&["wait", &c])?;
    let id = d.ok(&["commit", &c, "mine:v1"])?;
    let file = d.dir.path().join("mine.tar").display().to_string();
    d.ok(&["save", "-o", &file, "mine:v1"])?;
    d.ok(&["rm", &c])?;
    d.ok(&["rmi", "mine:v1"])?;
    ensure!(d.ok(&["load", "-i", &file])? == "Loaded image: mine:v1");
    ensure!(d.inspect("mine:v1")?["Id"] == *id);
    ensure!(d.ok(&["run", "--rm", "mine:v1", "sh", "-c", "cat /file; ls /etc"])?.starts_with("saved"));
    Ok(())
}

fn docker_commits_and_imports(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let ok = |words: &[&str]| -> Result<String> {
        let out = docker(&d, words)?.output()?;
        ensure!(out.status.success(), "docker {words:?}: {}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8(out.stdout)?.trim_end().to_owned())
    };
    let c = ok(&["run", "-d", "busybox", "sh", "-c", "echo x > /x; exec sleep 1000"])?;
    until("the file", || Ok(d.cli(&["exec", &c, "cat", "/x"])?.out.contains('x').then_some(())))?;
    let id =
        ok(&["commit", "-a", "me", "-m", "why", "-c", "CMD [\"cat\", \"/x\"]", "-c", "LABEL a=b", &c, "by-docker:v1"])?;
    ensure!(ok(&["inspect", "-f", "{{.Id}} {{.Author}} {{.Comment}}", "by-docker:v1"])? == format!("{id} me why"));
    ensure!(ok(&["run", "--rm", "by-docker:v1"])? == "x");
    let file = root_fs(&d)?.display().to_string();
    let id = ok(&["import", "-c", "CMD [\"/bin/busybox\", \"cat\", \"/hello\"]", &file, "imported:v1"])?;
    ensure!(ok(&["inspect", "-f", "{{.Id}}", "imported:v1"])? == id);
    ensure!(ok(&["run", "--rm", "imported:v1"])? == "from the archive");
    Ok(())
}

const PY: &str = r#"
import docker, sys
c = docker.from_env(timeout=120)
k = c.containers.run("busybox", ["sh", "-c", "echo py > /py"], detach=True)
assert k.wait()["StatusCode"] == 0
i = k.commit("by-py", "v1", author="me", message="why", changes="CMD [\"cat\", \"/py\"]\nENV A=1")
assert i.tags == ["by-py:v1"] and i.attrs["Author"] == "me", i.attrs
assert c.containers.run("by-py:v1", remove=True) == b"py\n"
k.remove()
data = b"".join(i.save(named=True))
c.images.remove("by-py:v1")
assert [x.id for x in c.images.load(data)] == [i.id]
assert c.images.get("by-py:v1").id == i.id
out = c.api.import_image_from_file(sys.argv[1], repository="imported", tag="v1", changes=["CMD [\"/bin/busybox\", \"cat\", \"/hello\"]"])
assert "sha256:" in out, out
assert c.containers.run("imported:v1", remove=True) == b"from the archive\n"
try:
    c.api.get_image("nope").__next__()
    sys.exit("found")
except docker.errors.NotFound:
    pass
print("all well")
"#;

fn docker_py_saves_commits_and_imports(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let out = python(&d)?.arg("-c").arg(PY).arg(root_fs(&d)?).output()?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).trim() == "all well", "{err}");
    Ok(())
}
