//! `cargo xtask bench`: dhow and the engines beside it, measured in one run; the table in docs/benchmarks.md.
//!
//! The measuring itself is in `bench/`, in Python so that it can run inside the tree of the peers. Here is what comes
//! before and after: building, the tree, the images, starting and stopping, and the page.

use crate::{images, packages, run};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's release of the peers, and what is in their tree.
const SUITE: &str = "trixie";
const MIRROR: &str = "http://deb.debian.org/debian";
const PEERS: &[&str] = &[
    "docker.io",
    "docker-cli",
    "podman",
    "crun",
    "runc",
    "containerd",
    "docker-registry",
    "iptables",
    "nftables",
    "netavark",
    "aardvark-dns",
    "python3",
    "busybox-static",
    "iproute2",
    "procps",
];

/// What is measured when nothing is named.
const WHAT: &[&str] = &[
    "latency",
    "lifecycle",
    "commands",
    "par",
    "idle",
    "images",
    "contend",
    "transfer",
    "io",
    "flood",
    "oci",
    "floor",
];

const DHOW: &str = "/opt/dhow/dhow -H unix:///run/peers/dhow.sock";

/// Marks in docs/benchmarks.md between which the tables stand, one pair per kind of control groups.
fn marks(cgroup: &str) -> (String, String) {
    (format!("<!-- results {cgroup} -->"), format!("<!-- end of results {cgroup} -->"))
}

struct Wanted {
    what: Vec<String>,
    samples: Option<String>,
    cgroup: String,
    peers: Option<PathBuf>,
    only_dhow: bool,
    /// Where the binary to measure stands, if it need not be built.
    dhow: Option<PathBuf>,
}

/// `cargo xtask bench [WHAT...] [-n N] [--cgroup v1|v2] [--peers DIR] [--dhow DIR] [--only-dhow]`.
pub fn command(words: &[String]) -> Result<()> {
    let mut wanted =
        Wanted { what: vec![], samples: None, cgroup: "v2".into(), peers: None, only_dhow: false, dhow: None };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value")).cloned();
        match word.as_str() {
            "-n" => wanted.samples = Some(value()?),
            "--cgroup" => wanted.cgroup = value()?,
            "--peers" => wanted.peers = Some(value()?.into()),
            "--dhow" => wanted.dhow = Some(value()?.into()),
            "--only-dhow" => wanted.only_dhow = true,
            what if WHAT.contains(&what) => wanted.what.push(what.to_owned()),
            other => bail!("nothing called {other:?} is measured; there are {}", WHAT.join(", ")),
        }
    }
    if wanted.what.is_empty() {
        wanted.what = WHAT.iter().map(|w| (*w).to_owned()).collect();
    }
    if !["v1", "v2"].contains(&wanted.cgroup.as_str()) {
        bail!("--cgroup is v1 or v2");
    }

    packages::ensure(&["gcc", "libc6-dev", "iproute2", "util-linux", "python3"])?;
    let dhow = match &wanted.dhow {
        Some(dir) => dir.canonicalize().with_context(|| dir.display().to_string())?,
        None => {
            run::run(run::cargo().args(["build", "--release", "-p", "dhow"]))?;
            run::built("release")?
        }
    };
    let home = run::scratch("bench")?;
    let place = Place {
        peers: match wanted.peers.clone() {
            Some(dir) => dir,
            None => peers_tree(&home)?,
        },
        data: run::scratch("bench/data")?,
        images: run::scratch("bench/images")?,
        dhow,
        cgroup: wanted.cgroup.clone(),
    };
    let busybox = images::make("busybox", &place.images, false)?;
    if wanted.what.iter().any(|w| ["images", "contend", "transfer"].contains(&w.as_str())) {
        images::make("debian", &place.images, false)?;
        place.many(&busybox)?;
    }
    place.compile("floor")?;
    place.compile("maxrss")?;

    place.script(&["up"])?;
    let measured = place.measure(&wanted);
    // Whatever happened, nothing of it stays: containers first, or they keep their control groups.
    place.clean(&wanted);
    place.script(&["down"])?;
    write_page(&wanted.cgroup, wanted.subject(), &measured?)
}

impl Wanted {
    /// Under which heading the table stands: what concerns images and files has tables of its own, so that they can be
    /// measured anew alone.
    fn subject(&self) -> &'static str {
        let only = |set: &[&str]| self.what.iter().all(|w| set.contains(&w.as_str()));
        if only(&["images", "contend"]) {
            " images"
        } else if only(&["transfer"]) {
            " registries"
        } else if only(&["io"]) {
            " files"
        } else if only(&["flood"]) {
            " output"
        } else if only(&["commands"]) {
            " commands"
        } else {
            ""
        }
    }
}

/// The folders of a run.
struct Place {
    peers: PathBuf,
    data: PathBuf,
    images: PathBuf,
    dhow: PathBuf,
    cgroup: String,
}

impl Place {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(run::root().join("bench/peers-env.sh"));
        command.args(words);
        command.env("PEERS_ROOT", &self.peers).env("PEERS_DATA", &self.data).env("PEERS_IMAGES", &self.images);
        command.env("DHOW_DIR", &self.dhow).env("PEERS_CGROUP", &self.cgroup).env("BENCH_OUT", "/data/results.jsonl");
        command
    }

    fn script(&self, words: &[&str]) -> Result<()> {
        run::run(&mut self.command(words))
    }

    fn compile(&self, name: &str) -> Result<()> {
        let bin = self.data.join("bin");
        std::fs::create_dir_all(&bin)?;
        let source = run::root().join(format!("bench/{name}.c"));
        run::run(Command::new("gcc").args(["-O2", "-static", "-o"]).arg(bin.join(name)).arg(source))
    }

    /// The image of many layers, made once.
    fn many(&self, busybox: &Path) -> Result<()> {
        let path = self.images.join("many.tar");
        if path.exists() {
            return Ok(());
        }
        println!("making an image of 21 layers");
        run::run(Command::new("python3").arg(run::root().join("bench/many.py")).arg(&path).arg(busybox))
    }

    /// Starts the daemons, measures, and gives the table.
    fn measure(&self, wanted: &Wanted) -> Result<String> {
        let results = self.data.join("results.jsonl");
        if results.exists() {
            std::fs::remove_file(&results)?;
        }
        self.script(&["dhow"])?;
        if wanted.what.iter().any(|w| w == "transfer") {
            self.script(&["registry"])?;
        }
        let mut engines = vec![format!("dhow={DHOW}")];
        let mut runtimes = vec!["dhow=/opt/dhow/dhow oci".to_owned()];
        if !wanted.only_dhow {
            self.script(&["dockerd"])?;
            engines.splice(0..0, ["docker=docker".to_owned(), "podman=podman".to_owned()]);
            runtimes.splice(0..0, ["crun=/usr/bin/crun".to_owned(), "runc=/usr/sbin/runc".to_owned()]);
        }
        for what in &wanted.what {
            let mut bench = self.command(&["enter", "python3", "/bench/bench.py", what]);
            bench.args(engines.iter().flat_map(|e| ["-e", e])).args(runtimes.iter().flat_map(|r| ["-r", r]));
            if let Some(samples) = &wanted.samples {
                bench.args(["-n", samples]);
            }
            run::run(&mut bench)?;
        }
        run::output(Command::new("python3").arg(run::root().join("bench/table.py")).arg(&results))
    }

    /// Removes the containers that a failed run may have left; what fails here has no consequence but a message.
    fn clean(&self, wanted: &Wanted) {
        let engines: &[&str] = if wanted.only_dhow { &[DHOW] } else { &[DHOW, "docker", "podman"] };
        for engine in engines {
            let script = format!("ids=$({engine} ps -aq) && [ -z \"$ids\" ] || {engine} rm -f $ids >/dev/null");
            if let Err(e) = self.script(&["enter", "sh", "-c", &script]) {
                eprintln!("{e:#}");
            }
        }
    }
}

/// The tree with the peers, bootstrapped once.
fn peers_tree(home: &Path) -> Result<PathBuf> {
    let tree = home.join("peers");
    if !tree.join("usr/bin/podman").exists() {
        packages::ensure(&["mmdebstrap"])?;
        println!("bootstrapping Debian {SUITE} with the peers, which takes some minutes");
        let include = format!("--include={}", PEERS.join(","));
        let mut bootstrap = Command::new("mmdebstrap");
        bootstrap.args(["--variant=minbase", "--mode=root", "--quiet", &include, SUITE]).arg(&tree).arg(MIRROR);
        run::run(&mut bootstrap)?;
    }
    Ok(tree)
}

/// Puts the table between its marks in docs/benchmarks.md, or at the end of the page.
fn write_page(cgroup: &str, subject: &str, table: &str) -> Result<()> {
    let path = run::root().join("docs/benchmarks.md");
    let page = std::fs::read_to_string(&path).unwrap_or_else(|_| "# Benchmarks\n".to_owned());
    let kernel = run::output(Command::new("uname").arg("-r"))?;
    let processors = run::output(&mut Command::new("nproc"))?;
    let date = run::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let about = format!(
        "Measured on {} with kernel {} and {} processors, control groups {cgroup}. A cell: median (minimum), `c` CPU \
         of everything the engine needed, `max` the slowest, `m` peak memory in MiB; the unit is the row's.",
        date.trim(),
        kernel.trim(),
        processors.trim()
    );
    std::fs::write(&path, spliced(&page, &format!("{cgroup}{subject}"), &format!("{about}\n\n{table}")))?;
    println!("{table}\nwritten to {}", path.display());
    Ok(())
}

fn spliced(page: &str, cgroup: &str, text: &str) -> String {
    let (begin, end) = marks(cgroup);
    let (before, after) = match page.split_once(&begin) {
        Some((before, rest)) => (before, rest.split_once(&end).map_or("\n", |(_, after)| after)),
        None => (page, "\n"),
    };
    let gap = if before.ends_with("\n\n") { "" } else { "\n" };
    format!("{before}{gap}{begin}\n{}\n{end}{after}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::spliced;

    #[test]
    fn a_table_replaces_the_one_of_its_kind_only() {
        let page = spliced("# Benchmarks\n", "v2", "old\n");
        let page = spliced(&page, "v1", "other\n");
        let page = spliced(&page, "v2", "new\n");
        assert_eq!(
            page,
            "# Benchmarks\n\n<!-- results v2 -->\nnew\n<!-- end of results v2 -->\n\n\
             <!-- results v1 -->\nother\n<!-- end of results v1 -->\n"
        );
    }
}
