//! `cargo xtask soak`: thousands of commands in a row, and a look whether anything is more afterwards than before.
//!
//! What is counted and how stands in the end-to-end tests (`soak::`), which do the same with a small number.

use crate::{images, packages, run};
use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// What is run where nobody asked for another number.
const EXECS: &str = "10000";
const RUNS: &str = "2000";

/// `cargo xtask soak [--execs N] [--runs N] [--dhow FILE]`; `false` when something grew.
pub fn command(words: &[String]) -> Result<bool> {
    let (mut execs, mut runs, mut dhow) = (EXECS.to_owned(), RUNS.to_owned(), None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value")).cloned();
        match word.as_str() {
            "--execs" => execs = value()?,
            "--runs" => runs = value()?,
            "--dhow" => dhow = Some(PathBuf::from(value()?)),
            other => bail!("unknown option {other}"),
        }
    }
    packages::ensure(&["iproute2", "nftables", "busybox-static"])?;
    let dhow = match dhow {
        Some(file) => file,
        None => {
            run::run(run::cargo().args(["build", "--release", "-p", "dhow"]))?;
            run::built("release")?.join("dhow")
        }
    };
    run::run(run::cargo().args(["build", "--quiet", "-p", "dhow-e2e"]))?;
    let archives = run::root().join("images");
    images::make("busybox", &archives, false)?;
    let mut test = Command::new(run::built("debug")?.join("dhow-e2e"));
    test.arg("--dhow").arg(dhow).arg("--images").arg(archives);
    test.args(["--soak", &format!("{execs},{runs}"), "soak::"]);
    Ok(test.status().with_context(|| run::shown(&test))?.success())
}
