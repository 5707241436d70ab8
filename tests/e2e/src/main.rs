//! End-to-end tests: the built binary, real kernels, real clients.
//!
//! A program of its own instead of `#[test]` functions, because daemons must be torn down when all is over,
//! because skips are counted and said, and because one static file can be carried into a virtual machine.
//!
//!   dhow-e2e --dhow PATH --images DIR [--jobs N] [--soak EXECS,RUNS] [--list] [FILTER...]
//!
//! Every daemon stands in a network namespace of its own, with its own root, state and socket.

mod cases;
mod daemon;
mod disk;
mod footprint;
mod fuse;
mod made;
mod net;
mod pty;
#[allow(dead_code, reason = "for the cases of pull and push")]
mod registry;
mod runner;
mod serve;
mod tokens;
mod transfers;
#[allow(dead_code, reason = "for the cases of pull and push")]
mod wire;

use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;

/// What the run was given.
pub struct Setup {
    /// The binary under test.
    pub dhow: PathBuf,
    /// Archives made by `cargo xtask images`.
    pub images: PathBuf,
    /// How many execs and runs `soak::` makes.
    pub soak: (usize, usize),
}

/// Execs and runs where nobody asked for more.
const SOAK: (usize, usize) = (150, 60);

fn main() -> Result<()> {
    let mut setup = Setup { dhow: "dhow".into(), images: "images".into(), soak: SOAK };
    let (mut jobs, mut list, mut filters) = (2, false, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--serve" {
            return serve::run(&words.collect::<Vec<_>>());
        }
        let mut value = || words.next().with_context(|| format!("{word} wants a value"));
        match word.as_str() {
            "--dhow" => setup.dhow = value()?.into(),
            "--images" => setup.images = value()?.into(),
            "--jobs" => jobs = value()?.parse().context("--jobs")?,
            "--soak" => {
                let counts = value()?;
                let (execs, runs) = counts.split_once(',').context("--soak wants EXECS,RUNS")?;
                setup.soak = (execs.parse().context("--soak")?, runs.parse().context("--soak")?);
            }
            "--list" => list = true,
            _ if word.starts_with('-') => bail!("unknown option {word}"),
            _ => filters.push(word),
        }
    }
    setup.dhow = setup.dhow.canonicalize().with_context(|| format!("--dhow {}", setup.dhow.display()))?;
    let all = cases::all();
    let chosen: Vec<_> =
        all.into_iter().filter(|c| filters.is_empty() || filters.iter().any(|f| c.name.contains(f.as_str()))).collect();
    if list {
        chosen.iter().for_each(|c| println!("{}", c.name));
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the end-to-end tests make namespaces and groups: run them as root");
    }
    let failed = runner::run(setup, chosen, jobs);
    std::process::exit(i32::from(failed > 0));
}
