//! `cargo xtask fuzz`: the fuzz targets of `tests/fuzz` under libFuzzer, each for a while.
//!
//! libFuzzer and the compiler's coverage counters work with a stable compiler; only sanitizers don't, and safe code has
//! no use for them. Everything is compiled apart (`target/fuzz`), since all of it is instrumented.

use crate::tally::Tally;
use crate::{packages, run};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// The targets, as `tests/fuzz/src/targets.rs` names them.
const TARGETS: &[&str] = &["layer", "entries", "recipe", "documents", "load"];
/// Targets that run at the same time.
const AT_ONCE: usize = 2;
/// Seconds for all of them, without compilation.
const SECONDS: u32 = 60;
/// Memory that a target may use, counted by libFuzzer once a second; the limits of archives keep it far below.
const MEMORY_MIB: u32 = 1024;

/// What makes the compiler count which code an input reaches, and tell the fuzzer what is compared with what.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=4";

/// `cargo xtask fuzz [--seconds N] [TARGET [INPUT...]]`.
pub fn command(words: &[String]) -> Result<bool> {
    let mut words = words.to_vec();
    let mut seconds = SECONDS;
    if let Some(at) = words.iter().position(|w| w == "--seconds") {
        seconds = words.get(at + 1).context("--seconds wants a number")?.parse().context("--seconds")?;
        words.drain(at..at + 2);
    }
    let targets: Vec<&str> = match words.first() {
        None => TARGETS.to_vec(),
        Some(word) => {
            let known = TARGETS.iter().find(|t| *t == word);
            vec![*known.with_context(|| format!("no target {word:?}; there are {}", TARGETS.join(", ")))?]
        }
    };
    if let [target, inputs @ ..] = words.as_slice()
        && !inputs.is_empty()
    {
        return run::run(
            run::cargo().args(["run", "--quiet", "-p", "dhow-fuzz", "--"]).args(inputs).env("DHOW_FUZZ", target),
        )
        .map(|()| true);
    }
    let mut tally = Tally::default();
    step(&targets, seconds, &mut tally);
    println!("\n{}", tally.report());
    Ok(tally.failures() == 0)
}

/// All targets for a minute in total, counted.
pub fn suite(tally: &mut Tally) {
    step(TARGETS, SECONDS, tally);
}

fn step(targets: &[&str], seconds: u32, tally: &mut Tally) {
    println!("== fuzz targets");
    let begun = Instant::now();
    let built = match build() {
        Ok(built) => built,
        Err(e) => return tally.add(&format!("fuzz targets: {e:#}"), false),
    };
    println!("compiled in {} s", begun.elapsed().as_secs());
    let rounds = targets.len().div_ceil(AT_ONCE).max(1) as u32;
    let each = (seconds / rounds).max(1);
    for some in targets.chunks(AT_ONCE) {
        let running: Vec<_> = some.iter().map(|target| (*target, Run::start(target, &built, each))).collect();
        for (target, run) in running {
            let result = run.and_then(Run::end);
            if let Err(e) = &result {
                eprintln!("{e:#}");
            }
            tally.add(&format!("fuzz {target}"), result.is_ok());
        }
    }
}

/// The programs: one with the engine, and one that writes seeds.
struct Built {
    engine: PathBuf,
    seeds: PathBuf,
}

fn build() -> Result<Built> {
    packages::ensure(&["g++"])?;
    let host = run::output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let target = run::root().join("target/fuzz");
    let mut cargo = run::cargo();
    cargo.args(["build", "--quiet", "-p", "dhow-fuzz", "--features", "engine", "--profile", "fuzz"]);
    cargo.args(["--target", host.trim()]).env("CARGO_TARGET_DIR", &target);
    // In place of the flags of `.cargo/config.toml`: the engine is C++ and is linked as usual.
    run::run(cargo.env("RUSTFLAGS", COVERAGE))?;
    let seeds = run::scratch("fuzz")?.join("seeds");
    let words = ["run", "--quiet", "-p", "dhow-fuzz", "--", "--seeds"];
    if seeds.exists() {
        std::fs::remove_dir_all(&seeds)?;
    }
    run::run(run::cargo().args(words).arg(&seeds))?;
    Ok(Built { engine: target.join(host.trim()).join("fuzz/dhow-fuzz"), seeds })
}

/// One target at work.
struct Run {
    child: Child,
    target: String,
    log: PathBuf,
    crashes: PathBuf,
}

impl Run {
    fn start(target: &str, built: &Built, seconds: u32) -> Result<Self> {
        let dir = run::scratch("fuzz")?;
        // What was reached before is reached at once again: a corpus grows from run to run.
        let (corpus, crashes) = (dir.join("corpus").join(target), dir.join("found").join(target));
        std::fs::create_dir_all(&corpus)?;
        std::fs::create_dir_all(&crashes)?;
        let log = dir.join(format!("{target}.log"));
        let out = std::fs::File::create(&log)?;
        // Archives are unpacked in a file system of the run's own, in memory; a file in it shows who leaves a tree.
        let script =
            "mount -t tmpfs -o size=256m,mode=755 dhow-fuzz /mnt && printf untouched > /mnt/canary && exec \"$@\"";
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(&built.engine);
        unshare.arg(format!("-max_total_time={seconds}")).arg(format!("-rss_limit_mb={MEMORY_MIB}"));
        unshare.args(["-timeout=60", "-max_len=32768", "-print_final_stats=1", "-verbosity=1"]);
        unshare.arg(format!("-artifact_prefix={}/", crashes.display()));
        unshare.arg(format!("-dict={}", run::root().join("tests/fuzz/words.dict").display()));
        unshare.arg(&corpus).arg(built.seeds.join(target));
        let child = unshare.env("DHOW_FUZZ", target).stdout(out.try_clone()?).stderr(Stdio::from(out)).spawn();
        let child = child.context("unshare")?;
        Ok(Self { child, target: target.to_owned(), log, crashes })
    }

    fn end(mut self) -> Result<()> {
        let status = self.child.wait()?;
        let text = String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned();
        let word = |key: &str| {
            let line = text.lines().rev().find(|l| l.starts_with(key))?;
            line.split_whitespace().last().map(str::to_owned)
        };
        let runs = word("stat::number_of_executed_units:").unwrap_or_else(|| "?".to_owned());
        let peak = word("stat::peak_rss_mb:").unwrap_or_else(|| "?".to_owned());
        let covered = text.lines().rev().find_map(|l| l.split("cov: ").nth(1)?.split(' ').next()).unwrap_or("?");
        let target = &self.target;
        println!("fuzz {target}: {runs} inputs, {covered} places of the code reached, {peak} MiB at most");
        if status.success() {
            return Ok(());
        }
        for line in text.lines().filter(|l| !l.starts_with('#')).rev().take(60).collect::<Vec<_>>().iter().rev() {
            eprintln!("{line}");
        }
        let input = text.lines().rev().find_map(|l| l.split("Test unit written to ").nth(1)).map(Path::new);
        match input {
            Some(input) => bail!(
                "fuzz {target}: {} shows a fault; run it again with `cargo xtask fuzz {target} {0}`, and when it is \
                 mended put it into tests/fuzz/src/seeds.rs",
                input.display()
            ),
            None => bail!("fuzz {target}: {status}, and no input in {}", self.crashes.display()),
        }
    }
}
