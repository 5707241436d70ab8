//! The disk budget: what goes by itself, in which order, and what never goes.

use super::clients::{docker, python};
use super::space::{tar, waste};
use crate::daemon::{Daemon, until};
use crate::disk::Disk;
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

super::cases!("budget":
    the_least_recently_used_goes_first, what_is_used_stays_and_what_is_too_large_is_refused, logs_of_ended_containers_go,
    a_share_of_the_disk, the_last_use_outlives_the_daemon,
);

/// MiB of each image here.
const IMAGE: usize = 6;

fn import(d: &Daemon, name: &str, mib: usize) -> Result<()> {
    let file = tar(d, name, mib)?;
    d.ok(&["import", &file.display().to_string(), &format!("{name}:1")])?;
    Ok(std::fs::remove_file(file)?)
}

/// Makes and removes a container of the image, in a second of its own: the order of uses is kept in seconds.
fn use_it(d: &Daemon, name: &str) -> Result<()> {
    let second = || Ok::<_, anyhow::Error>(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let begin = second()?;
    until("the next second", || Ok((second()? > begin).then_some(())))?;
    let c = d.ok(&["create", name, "nothing"])?;
    d.ok(&["rm", &c])?;
    Ok(())
}

fn names(d: &Daemon) -> Result<Vec<String>> {
    let list = d.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
    let mut names: Vec<String> = list.lines().filter(|n| !n.starts_with("dhow/hello")).map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// What the root uses when nothing is on its way out.
fn used(d: &Daemon) -> Result<u64> {
    until("the trash to be empty", || Ok((waste(d)? == 0).then_some(())))?;
    let (status, _, body) = d.http("GET", "/system/df", "")?;
    ensure!(status == 200, "{body}");
    serde_json::from_str::<Value>(&body)?["TotalSize"].as_u64().context("no TotalSize")
}

/// Starts the daemon anew with a budget of what is used now and so many MiB more.
fn tighten(d: &Daemon, more: u64) -> Result<u64> {
    let budget = used(d)? + (more << 20);
    d.end()?;
    d.configure(&format!("{{\"disk-budget\": \"{budget}\"}}"))?;
    d.up()?;
    Ok(budget)
}

/// The lines in which the daemon says what it removed since its log had `before` bytes, each up to what can't be known.
fn told(d: &Daemon, before: usize) -> Vec<String> {
    let log = d.log();
    let lines = log[before..].lines().filter_map(|l| l.split_once("disk budget: ").map(|(_, said)| said.to_owned()));
    lines.collect()
}

fn the_least_recently_used_goes_first(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    for name in ["a", "b", "c"] {
        import(&d, name, IMAGE)?;
    }
    for name in ["b:1", "c:1", "a:1", "busybox"] {
        use_it(&d, name)?;
    }
    let budget = tighten(&d, IMAGE as u64 / 2)?;
    let before = d.log().len();
    import(&d, "d", IMAGE)?;
    ensure!(names(&d)? == ["a:1", "busybox:latest", "c:1", "d:1"], "{:?}", names(&d)?);
    ensure!(used(&d)? <= budget, "{} {budget}", used(&d)?);
    let said = told(&d, before);
    ensure!(said.len() == 1 && said[0].starts_with("removed image b:1 (6.3 MB, last used 20"), "{said:?}");
    // Used meanwhile, so it is another one's turn.
    use_it(&d, "c:1")?;
    import(&d, "e", IMAGE)?;
    ensure!(names(&d)? == ["busybox:latest", "c:1", "d:1", "e:1"], "{:?}", names(&d)?);
    // The clients see the same.
    let out = docker(&d, &["images", "--format", "{{.Repository}}:{{.Tag}}"])?.output()?;
    let mut seen: Vec<String> = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
    seen.retain(|n| !n.starts_with("dhow/hello"));
    seen.sort();
    ensure!(seen == names(&d)?, "{seen:?}");
    const PY: &str = "import docker; c = docker.from_env(timeout=120); \
                      print(*sorted(t for i in c.images.list() for t in i.tags if 'hello' not in t)); \
                      c.images.get('c:1'); c.df()\n\
                      try: c.images.get('a:1')\n\
                      except docker.errors.ImageNotFound: print('gone')";
    let out = python(&d)?.arg("-c").arg(PY).output()?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(said == format!("{}\ngone\n", names(&d)?.join(" ")), "{said} {}", String::from_utf8_lossy(&out.stderr));
    let r = d.cli(&["system", "check"])?;
    ensure!(r.code == 0 && r.out.contains("everything is whole"), "{r:?}");
    Ok(())
}

fn what_is_used_stays_and_what_is_too_large_is_refused(w: &World) -> Result<()> {
    // On a disk of its own: what others give back to a common one hides what a container takes, until all is measured.
    let d = Daemon::start_on(&w.setup, "{}", |dir| Disk::memory(&dir.join("root"), 64).map(Some))?;
    d.load("busybox")?;
    for name in ["stopped", "unused"] {
        import(&d, name, IMAGE)?;
    }
    // What is used by a container is the oldest of all.
    d.ok(&["create", "--name", "holds", "stopped:1", "nothing"])?;
    d.ok(&["run", "-d", "--name", "runs", "busybox", "sleep", "100000"])?;
    use_it(&d, "unused:1")?;
    let all = names(&d)?;
    let archive = d.dir.path().join("large.tar").display().to_string();
    {
        let maker = w.daemon()?;
        import(&maker, "large", 5 * IMAGE)?;
        maker.ok(&["save", "-o", &archive, "large:1"])?;
        maker.ok(&["rmi", "large:1"])?;
    }
    tighten(&d, 1)?;
    let before = d.log().len();
    // Not even without the unused one: then it stays, too.
    d.cli(&["load", "-i", &archive])?.fails(
        1,
        &["not enough space", "MB are needed", "the disk budget leaves", "`dhow system df`", "raise disk-budget"],
    )?;
    let large = tar(&d, "large", 2 * IMAGE)?.display().to_string();
    d.cli(&["import", &large, "large:1"])?.fails(1, &["12.6 MB are needed", "the disk budget leaves "])?;
    ensure!(names(&d)? == all && told(&d, before).is_empty(), "{:?} {:?}", names(&d)?, told(&d, before));
    // What fits in its place comes in.
    import(&d, "fits", IMAGE)?;
    ensure!(names(&d)? == ["busybox:latest", "fits:1", "stopped:1"], "{:?}", names(&d)?);
    ensure!(d.ok(&["exec", "runs", "echo", "alive"])? == "alive");
    // A container's own bytes count, and are never taken: the newest image goes for them, when the next look comes.
    d.ok(&["exec", "runs", "dd", "if=/dev/zero", "of=/f", "bs=1M", "count=4"])?;
    d.ok(&["create", "--name", "looks", "busybox", "true"])?;
    d.ok(&["start", "looks"])?;
    until("the budget to be kept", || Ok((names(&d)? == ["busybox:latest", "stopped:1"]).then_some(())))?;
    ensure!(d.ok(&["exec", "runs", "stat", "-c", "%s", "/f"])? == "4194304");
    ensure!(d.ok(&["ps", "-aq"])?.lines().count() == 3);
    Ok(())
}

fn logs_of_ended_containers_go(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let says = |name: &str, then: &str| {
        let script = format!("yes 'a line that fills a log' | head -n 160000; {then}");
        d.ok(&["run", "-d", "--name", name, "busybox", "sh", "-c", &script])
    };
    says("ended", "true")?;
    says("runs", "touch /done; exec sleep 100000")?;
    d.ok(&["wait", "ended"])?;
    until("the log of the other", || Ok((d.cli(&["exec", "runs", "ls", "/done"])?.code == 0).then_some(())))?;
    let log = |name: &str| -> Result<u64> {
        let id = d.inspect(name)?["Id"].as_str().context("no id")?.to_owned();
        let mut sum = 0;
        for entry in std::fs::read_dir(d.root().join("containers").join(id).join("log"))? {
            sum += entry?.metadata()?.len();
        }
        Ok(sum)
    };
    ensure!(log("ended")? > 3 << 20 && log("runs")? > 3 << 20);
    tighten(&d, 1)?;
    let before = d.log().len();
    import(&d, "new", 3)?;
    ensure!(log("ended")? == 0 && d.ok(&["logs", "ended"])?.is_empty());
    ensure!(log("runs")? > 3 << 20 && d.ok(&["logs", "--tail", "1", "runs"])? == "a line that fills a log");
    let said = told(&d, before);
    ensure!(said.len() == 1 && said[0].starts_with("emptied the log of container ended ("), "{said:?}");
    ensure!(names(&d)? == ["busybox:latest", "new:1"]);
    // It can be started again, and says what it has to say.
    d.ok(&["start", "ended"])?;
    d.ok(&["wait", "ended"])?;
    ensure!(d.ok(&["logs", "--tail", "1", "ended"])? == "a line that fills a log");
    Ok(())
}

fn a_share_of_the_disk(w: &World) -> Result<()> {
    let config = "{\"disk-budget\": \"50%\"}";
    let d = Daemon::start_on(&w.setup, config, |dir| Disk::memory(&dir.join("root"), 60).map(Some))?;
    d.load("busybox")?;
    let (_, _, body) = d.http("GET", "/system/df", "")?;
    let store = serde_json::from_str::<Value>(&body)?["StoreUsage"].clone();
    ensure!(store["DiskSize"] == 60 << 20 && store["DiskBudget"] == 30 << 20, "{store}");
    use_it(&d, "busybox")?;
    for name in ["a", "b"] {
        import(&d, name, 8)?;
        use_it(&d, &format!("{name}:1"))?;
    }
    use_it(&d, "busybox")?;
    import(&d, "c", 8)?;
    ensure!(names(&d)? == ["b:1", "busybox:latest", "c:1"], "{:?}", names(&d)?);
    let r = d.cli(&["import", &tar(&d, "whole", 31)?.display().to_string(), "whole:1"])?;
    r.fails(1, &["the disk budget leaves"])?;
    ensure!(names(&d)? == ["b:1", "busybox:latest", "c:1"], "{:?}", names(&d)?);
    Ok(())
}

fn the_last_use_outlives_the_daemon(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    import(&d, "a", 1)?;
    let last = |name: &str| -> Result<String> {
        Ok(d.inspect(name)?["Metadata"]["LastUsed"].as_str().unwrap_or_default().to_owned())
    };
    let never = last("a:1")?;
    ensure!(never.is_empty(), "{never}");
    use_it(&d, "a:1")?;
    let first = last("a:1")?;
    ensure!(!first.is_empty());
    d.kill()?;
    d.up()?;
    // A killed daemon may lose the last seconds of uses, not all of them.
    let after = last("a:1")?;
    ensure!(!after.is_empty() && after <= first, "{first} became {after}");
    // The second use in a few seconds is in memory until the daemon ends.
    use_it(&d, "a:1")?;
    use_it(&d, "a:1")?;
    let second = last("a:1")?;
    ensure!(second > first, "{first} {second}");
    d.end()?;
    d.up()?;
    ensure!(last("a:1")? == second, "{second} became {}", last("a:1")?);
    Ok(())
}
