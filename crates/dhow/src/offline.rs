//! `dhow system check --root DIR`: the check of a root that no daemon has, done by this process itself.
//!
//! It stands outside of the command line, which knows the API only.

use crate::cli::check::{CheckArgs, Printer};
use crate::cli::output;
use crate::flags::parse::{Count, Grammar, parse};
use anyhow::{Result, bail};
use dhow_api::{CheckDone, CheckFinding, CheckLine};
use dhow_engine::view::CheckEvent;
use std::ffi::OsString;

/// Runs it with the words behind `system check`; gives the exit code.
pub fn main(words: Vec<OsString>) -> i32 {
    let grammar = Grammar {
        path: "system check",
        usage: "[OPTIONS]",
        arguments: Count { least: 0, most: Some(0) },
        aliases: Vec::new(),
    };
    let args: CheckArgs = match parse(&grammar, words) {
        Ok(args) => args,
        Err(stop) => return stop.say(),
    };
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            output::note(format!("dhow: {error:#}"));
            1
        }
    }
}

fn run(args: &CheckArgs) -> Result<i32> {
    let Some(root) = &args.root else { bail!("--root DIR is missing") };
    if !rustix::process::geteuid().is_root() {
        bail!("only root can read the store: use sudo");
    }
    let mut printer = Printer::new(args)?;
    let mut code = Ok(None);
    dhow_engine::check_root(root, args.repair, &mut |event| {
        if matches!(code, Ok(None)) {
            code = printer.line(&line(event));
        }
    })?;
    Ok(code?.unwrap_or(1))
}

fn line(event: CheckEvent) -> CheckLine {
    match event {
        CheckEvent::Finding { about, problem, outcome, advice } => CheckLine {
            finding: Some(CheckFinding { about, problem, outcome: outcome.to_owned(), advice }),
            ..CheckLine::default()
        },
        CheckEvent::Done { images, layers, bytes, wrong, mended } => {
            CheckLine { done: Some(CheckDone { images, layers, bytes, wrong, mended }), ..CheckLine::default() }
        }
        CheckEvent::Failed(e) => CheckLine { error: Some(e.text().to_owned()), ..CheckLine::default() },
    }
}
