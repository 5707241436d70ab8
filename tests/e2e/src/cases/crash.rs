//! The store after blows: the daemon killed at any moment of its work on images, and damage done by hand.

use crate::daemon::{Daemon, Ran, until};
use crate::runner::World;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

super::cases!("crash":
    killed_at_work_on_images, killed_at_prunes, damage_is_named_and_mended, a_damaged_configuration_hides_nothing,
    a_broken_database_is_mended_offline,
);

/// How often the daemon is killed.
const KILLS: u64 = 104;

fn killed_at_work_on_images(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let archive = d.archive("busybox").display().to_string();
    let pid = {
        let id = d.ok(&["run", "-d", "--name", "stays", "busybox", "sleep", "100000"])?;
        d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?
    };
    let tar = d.dir.path().join("files.tar");
    files(&d.dir.path().join("files"), &tar)?;
    let tar = tar.display().to_string();
    let seed = u64::from(std::process::id());
    let mut random = seed;
    let mut slowest = Duration::ZERO;
    // How long each sort of work takes on this machine, so that the blows fall within it.
    let mut took = [Duration::from_millis(40); 5];
    for round in 0..KILLS {
        let work = (round % 5) as usize;
        let name = format!("made:{round}");
        let words: Vec<&str> = match work {
            0 => vec!["import", &tar, &name],
            1 => vec!["commit", "stays", &name],
            2 => vec!["load", "-q", "-i", &archive],
            3 => vec!["image", "tag", "busybox", &name],
            _ => vec!["rmi", "-f", "victim:1"],
        };
        if work == 4 {
            d.ok(&["import", &tar, "victim:1"])?;
        }
        let before = names(&d)?;
        let mut client = d.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The moment is the point of the test: somewhere in the time that the last one took.
        let moment = took[work].mul_f64((random >> 40) as f64 / (1u64 << 24) as f64 * 1.2);
        let begin = Instant::now();
        let mut ended = None;
        while begin.elapsed() < moment && ended.is_none() {
            ended = client.try_wait()?;
            std::thread::yield_now();
        }
        if ended.is_some() {
            took[work] = begin.elapsed();
        }
        d.kill()?;
        let status = client.wait()?;
        let begin = Instant::now();
        d.up().with_context(|| format!("round {round} (seed {seed}): {words:?}"))?;
        slowest = slowest.max(begin.elapsed());
        let after = names(&d)?;
        let (gained, lost) = (difference(&after, &before), difference(&before, &after));
        let wanted = match work {
            2 => lost.is_empty() && gained.is_empty(),
            4 => gained.is_empty() && (lost.is_empty() && !status.success() || lost == ["victim:1"]),
            _ => lost.is_empty() && (gained.is_empty() && !status.success() || gained == [name.clone()]),
        };
        ensure!(wanted, "round {round} (seed {seed}): {words:?} ended with {status}: {before:?} became {after:?}");
        if round % 8 == 7 {
            let r = d.cli(&["system", "check"])?;
            ensure!(r.code == 0 && r.out.contains("everything is whole"), "round {round} (seed {seed}): {r:?}");
            let gone: Vec<String> = after.into_iter().filter(|n| n.starts_with("made:")).collect();
            let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
            if !gone.is_empty() {
                d.ok(&[&["rmi", "-f"], &gone[..]].concat())?;
            }
        }
        ensure!(Path::new(&format!("/proc/{pid}")).exists(), "round {round}: the container died with the daemon");
    }
    ensure!(d.ok(&["exec", "stays", "echo", "alive"])? == "alive");
    println!("killed the daemon {KILLS} times; it was ready again after {slowest:?} at most");
    until("nothing half done to be left", || Ok((left(&d, "tmp")? + left(&d, "trash")? == 0).then_some(())))?;
    d.ok(&["rm", "-f", "stays"])?;
    Ok(())
}

/// What is pruned is gone or there, whenever the daemon is killed; what was moved to the trash is deleted by the next one.
fn killed_at_prunes(w: &World) -> Result<()> {
    const ROUNDS: u64 = 20;
    let d = w.own_daemon()?;
    let tar = d.dir.path().join("files.tar");
    files(&d.dir.path().join("files"), &tar)?;
    let tar = tar.display().to_string();
    d.ok(&["run", "-d", "--name", "stays", "busybox", "sleep", "100000"])?;
    d.ok(&["import", &tar, "stays:1"])?;
    d.ok(&["create", "stays:1", "nothing"])?;
    let seed = u64::from(std::process::id());
    let mut random = seed;
    let mut slowest = Duration::ZERO;
    let mut took = [Duration::from_millis(30); 2];
    let at_rest = until("nothing to be on its way out", || {
        let now = tree(&d)?;
        Ok((!now.iter().any(|n| n.starts_with("trash/") || n.starts_with("tmp/"))).then_some(now))
    })?;
    let write = "for i in $(seq 200); do echo $i > /file$i; done";
    let containers = |d: &Daemon| -> Result<Vec<String>> {
        Ok(d.ok(&["ps", "-a", "--filter", "label=goes", "--format", "{{.Names}}"])?
            .lines()
            .map(str::to_owned)
            .collect())
    };
    for round in 0..ROUNDS {
        let images = round % 2 == 0;
        let label = ["-c", "LABEL goes=yes"];
        if images {
            d.ok(&[&["import"], &label[..], &["-c", "ENV A=1", &tar, "goes:1"]].concat())?;
            d.ok(&["tag", "goes:1", "goes:2"])?;
            d.ok(&["run", "--label", "goes", "--name", "tops", "busybox", "sh", "-c", write])?;
            d.ok(&[&["commit"], &label[..], &["tops", "tops:1"]].concat())?;
            d.ok(&["rm", "tops"])?;
        } else {
            for name in ["one", "two"] {
                d.ok(&["run", "--label", "goes", "--name", name, "busybox", "sh", "-c", write])?;
            }
        }
        let path = match images {
            true => {
                "/v1.44/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%2C%22label%22%3A%5B%22goes%22%5D%7D"
            }
            false => "/v1.44/containers/prune?filters=%7B%22label%22%3A%5B%22goes%22%5D%7D",
        };
        let before = (names(&d)?, containers(&d)?);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // From the beginning of the prune to the deletion that follows the answer.
        let usual = took[usize::from(images)];
        let moment = usual.mul_f64((random >> 40) as f64 / (1u64 << 24) as f64 * 2.5);
        let begin = Instant::now();
        let answered = std::thread::scope(|scope| -> Result<bool> {
            let asked = scope.spawn(|| {
                let answer = d.http("POST", path, "");
                (answer.is_ok_and(|(status, _, _)| status == 200), begin.elapsed())
            });
            while begin.elapsed() < moment {
                std::thread::yield_now();
            }
            d.kill()?;
            let (answered, after) = asked.join().unwrap_or_default();
            if answered {
                took[usize::from(images)] = after;
            }
            Ok(answered)
        })?;
        let begin = Instant::now();
        d.up().with_context(|| format!("round {round} (seed {seed})"))?;
        slowest = slowest.max(begin.elapsed());
        let after = (names(&d)?, containers(&d)?);
        let what = || format!("round {round} (seed {seed}): {before:?} became {after:?}, answered: {answered}");
        ensure!(
            after.0.contains(&"stays:1".to_owned()) && after.0.contains(&"busybox:latest".to_owned()),
            "{}",
            what()
        );
        ensure!(difference(&after.0, &before.0).is_empty() && difference(&after.1, &before.1).is_empty(), "{}", what());
        // An image goes with all its names or with none.
        let of = |name: &str| after.0.iter().filter(|n| n.starts_with(name)).count();
        ensure!(matches!(of("goes:"), 0 | 2) && !(answered && images && of("goes:") + of("tops:") > 0), "{}", what());
        ensure!(!answered || images || after.1.is_empty(), "{}", what());
        d.http("POST", path, "")?;
        until("all that was pruned to be gone", || Ok((tree(&d)? == at_rest).then_some(()))).with_context(|| {
            format!("{}: {:?} is left", what(), difference(&tree(&d).unwrap_or_default(), &at_rest))
        })?;
    }
    let r = d.cli(&["system", "check"])?;
    ensure!(r.code == 0 && r.out.contains("everything is whole"), "{r:?}");
    ensure!(d.ok(&["exec", "stays", "echo", "alive"])? == "alive");
    println!("killed the daemon {ROUNDS} times at prunes; it was ready again after {slowest:?} at most");
    Ok(())
}

/// What lies in the directories in which things come and go.
fn tree(d: &Daemon) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for dir in ["layers", "recipes", "blobs/sha256", "containers", "tmp", "trash"] {
        for entry in std::fs::read_dir(d.root().join(dir))? {
            all.push(format!("{dir}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    all.sort();
    Ok(all)
}

/// An archive of some files.
fn files(dir: &Path, tar: &Path) -> Result<()> {
    std::fs::create_dir(dir)?;
    for i in 0..300u32 {
        std::fs::write(dir.join(format!("f{i}")), vec![i as u8; 3000])?;
    }
    let status = std::process::Command::new("tar").arg("-C").arg(dir).arg("-cf").arg(tar).arg(".").status()?;
    ensure!(status.success());
    Ok(())
}

fn names(d: &Daemon) -> Result<Vec<String>> {
    let list = d.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
    Ok(list.lines().filter(|l| !l.contains("<none>")).map(str::to_owned).collect())
}

fn difference(a: &[String], b: &[String]) -> Vec<String> {
    a.iter().filter(|n| !b.contains(n)).cloned().collect()
}

fn left(d: &Daemon, dir: &str) -> Result<usize> {
    Ok(std::fs::read_dir(d.root().join(dir))?.count())
}

/// The tree of busybox's only layer.
fn busybox_layer(d: &Daemon) -> Result<PathBuf> {
    let i = d.inspect("busybox")?;
    Ok(i["GraphDriver"]["Data"]["UpperDir"].as_str().context("no directory")?.into())
}

fn damage_is_named_and_mended(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let r = d.cli(&["system", "check"])?;
    ensure!(r.code == 0 && r.out.contains("everything is whole"), "{r:?}");
    let tree = busybox_layer(&d)?;
    use std::os::unix::fs::PermissionsExt as _;
    let file = first_file(&tree)?;
    let mode = std::fs::metadata(&file)?.permissions().mode();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode ^ 0o2))?;
    std::fs::write(tree.join("planted"), "x")?;
    let r = d.cli(&["system", "check"])?;
    ensure!(r.code == 1, "{r:?}");
    for want in ["planted does not belong to the layer", "has the mode", "--repair can mend"] {
        ensure!(r.out.contains(want), "{want}: {r:?}");
    }
    // As JSON, a line for each thing and the end.
    let r = d.cli(&["system", "check", "--format", "json"])?;
    let lines: Vec<Value> = r.out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(r.code == 1 && lines.iter().filter(|l| l["finding"]["outcome"] == "mendable").count() >= 2, "{lines:?}");
    ensure!(lines.last().is_some_and(|l| l["done"]["wrong"].as_u64() > Some(1)), "{lines:?}");
    // Not under a running container.
    d.ok(&["run", "-d", "--name", "holds", "busybox", "sleep", "100000"])?;
    let r = d.cli(&["system", "check", "--repair"])?;
    ensure!(r.code == 1 && r.out.contains("a running container uses it: stop it"), "{r:?}");
    ensure!(d.ok(&["exec", "holds", "cat", "/planted"])? == "x");
    d.ok(&["rm", "-f", "holds"])?;
    let r = d.cli(&["system", "check", "--repair"])?;
    ensure!(r.code == 0 && r.out.contains("mended, everything is whole now"), "{r:?}");
    ensure!(!tree.join("planted").exists());
    ensure!(d.ok(&["run", "--rm", "busybox", "echo", "works"])? == "works");
    // Content without another copy: named, and what to do.
    std::fs::write(&file, "rubbish")?;
    let r = d.cli(&["system", "check", "--repair"])?;
    ensure!(r.code == 1 && r.out.contains("load it again: busybox"), "{r:?}");
    // Loading brings it anew, unless something runs on it; what does not run may stay.
    d.ok(&["run", "-d", "--name", "holds", "busybox", "sleep", "100000"])?;
    let archive = d.archive("busybox").display().to_string();
    d.cli(&["load", "-i", &archive])?.fails(1, &["is damaged, and a running container uses it"])?;
    d.ok(&["kill", "holds"])?;
    d.ok(&["wait", "holds"])?;
    d.ok(&["load", "-i", &archive])?;
    whole(&d.cli(&["system", "check"])?)?;
    d.ok(&["start", "holds"])?;
    d.ok(&["rm", "-f", "holds"])?;
    // Found without a daemon, mended by the load of the next one.
    std::fs::write(&file, "rubbish")?;
    d.kill()?;
    let r = d.cli(&["system", "check", "--root", &d.root().display().to_string()])?;
    ensure!(r.code == 1 && r.out.contains("load it again: busybox"), "{r:?}");
    d.up()?;
    d.ok(&["load", "-i", &archive])?;
    whole(&d.cli(&["system", "check"])?)?;
    // A layer that came anew in another way is not taken for the damaged one.
    std::fs::write(&file, "rubbish")?;
    ensure!(d.cli(&["system", "check"])?.code == 1);
    d.ok(&["rmi", "busybox"])?;
    d.ok(&["load", "-i", &archive])?;
    d.ok(&["run", "-d", "--name", "holds", "busybox", "sleep", "100000"])?;
    d.ok(&["load", "-i", &archive])?;
    d.ok(&["rm", "-f", "holds"])?;
    let r = d.cli(&["system", "check", "--format", "yaml"])?;
    ensure!(r.code == 1 && r.err.contains("only json is known"), "{r:?}");
    Ok(())
}

fn a_damaged_configuration_hides_nothing(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    let container = d.ok(&["create", "--name", "of-it", "busybox", "true"])?;
    std::fs::write(d.root().join("blobs/sha256").join(&id[7..]), "rubbish")?;
    // What was read before is remembered, so that it takes a new daemon.
    d.kill()?;
    d.up()?;
    let (status, _, body) = d.http("GET", "/images/json", "")?;
    let list: Vec<Value> = serde_json::from_str(&body)?;
    let of = |name: &str| list.iter().find(|i| i["RepoTags"][0] == name).cloned().unwrap_or_default();
    ensure!(status == 200 && of("dhow/hello:latest")["Damaged"].is_null(), "{body}");
    ensure!(of("busybox:latest")["Damaged"].as_str().is_some_and(|t| t.contains("load it again")), "{body}");
    ensure!(d.ok(&["images", "-q", "--no-trunc"])?.contains(&id), "the damaged image is not listed");
    let tree = d.cli(&["images", "--tree"])?;
    ensure!(tree.code == 0 && tree.out.contains("dhow/hello") && tree.err.contains("load it again"), "{tree:?}");
    for words in [&["run", "--rm", "busybox", "true"][..], &["inspect", "busybox"], &["history", "busybox"]] {
        let r = d.cli(words)?;
        ensure!(r.code != 0 && r.err.contains("is damaged") && r.err.contains("load it again"), "{words:?}: {r:?}");
    }
    d.ok(&["run", "--rm", "dhow/hello"])?;
    // Loading it again is the cure, also under a container.
    d.load("busybox")?;
    whole(&d.cli(&["system", "check"])?)?;
    ensure!(d.ok(&["run", "--rm", "busybox", "echo", "works"])? == "works");
    d.ok(&["start", &container])?;
    Ok(())
}

fn whole(r: &Ran) -> Result<()> {
    ensure!(r.code == 0 && r.out.contains("everything is whole"), "{r:?}");
    Ok(())
}

fn first_file(dir: &Path) -> Result<PathBuf> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() && entry.metadata()?.len() > 0 {
            return Ok(entry.path());
        }
        if kind.is_dir()
            && let Ok(found) = first_file(&entry.path())
        {
            return Ok(found);
        }
    }
    bail!("no file in {}", dir.display())
}

fn a_broken_database_is_mended_offline(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let root = d.root().display().to_string();
    let r = d.cli(&["system", "check", "--root", &root])?;
    ensure!(r.code == 1 && r.err.contains("in use by process"), "{r:?}");
    let layer = busybox_layer(&d)?;
    d.ok(&["create", "--name", "kept", "busybox"])?;
    d.kill()?;
    whole(&d.cli(&["system", "check", "--root", &root])?)?;
    for part in ["", "-wal", "-shm"] {
        let path = d.root().join(format!("dhow.db{part}"));
        if path.exists() {
            std::fs::write(&path, vec![0x5a; 9000])?;
        }
    }
    let error = d.up().err().context("a daemon started with a broken database")?;
    let said = format!("{error:#}");
    ensure!(said.contains(&format!("dhow system check --repair --root {root}")), "{said}");
    let r = d.cli(&["system", "check", "--root", &root])?;
    ensure!(r.code == 1 && r.out.contains("database"), "{r:?}");
    ensure!(layer.is_dir());
    let r = d.cli(&["system", "check", "--root", &root, "--repair"])?;
    ensure!(r.code == 0 && r.out.contains("the old file is kept as dhow.db.damaged-"), "{r:?}");
    ensure!(r.out.contains("what it wrote is kept in lost-containers/"), "{r:?}");
    d.up()?;
    let ids = d.ok(&["images", "-q", "--no-trunc", "--filter", "dangling=true"])?;
    ensure!(!ids.is_empty() && layer.is_dir(), "{ids}");
    let mut works = false;
    for id in ids.split_whitespace() {
        works |= d.cli(&["run", "--rm", id, "echo", "back"])?.out.trim() == "back";
    }
    ensure!(works);
    whole(&d.cli(&["system", "check"])?)?;
    Ok(())
}
