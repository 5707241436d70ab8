//! `dhow doctor`: whether this machine has what dhow needs, and which command mends what it has not.
//!
//! It stands outside of the command line, which knows the API only: most of what it looks at is the machine itself, with
//! or without a daemon. `look` gathers [`facts`], `judge` (pure) makes findings of them, `show` prints those.

mod facts;
mod finding;
mod judge;
mod look;
mod show;

use crate::cli::context::Context;
use crate::cli::output;
use anyhow::{Result, bail};
use clap::Parser;
use finding::State;
use std::path::PathBuf;

/// The command's name.
pub const NAME: &str = "doctor";

/// Look for what is missing or wrong on this machine, and say what mends it
#[derive(Parser, Debug)]
#[command(
    name = "doctor",
    after_help = "Looks at the kernel, control groups, privileges, disk, store, network, daemon and other\n\
                  clients. It changes nothing, sends nothing out and ends within seconds, with or without\n\
                  a daemon. Without root it says what it did not see. Whether every file of the store is\n\
                  whole, `dhow system check` tells.\n\
                  Exit code: 0 = no error, 1 = at least one."
)]
pub struct DoctorArgs {
    /// Print `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print problems only, and nothing if there are none
    #[arg(short, long)]
    quiet: bool,
    /// Root directory of the daemon, if it can't be asked
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// State directory of the daemon, if it can't be seen from its process
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Configuration file of the daemon
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
}

/// Runs it. A context that can't be used is a finding, no failure.
pub fn doctor(context: &Context, args: DoctorArgs) -> Result<i32> {
    let json = match args.format.as_deref() {
        None | Some("") => false,
        Some("json") => true,
        Some(other) => bail!("--format {other}: only json is known"),
    };
    for (name, path) in [("--root", &args.root), ("--state", &args.state)] {
        if path.as_ref().is_some_and(|p| !p.is_absolute()) {
            bail!("{name}: must be an absolute path");
        }
    }
    let question = look::Question { root: args.root, state: args.state, config: args.config_file };
    let facts = look::all(&look::Host::of(context), &question);
    let findings = judge::all(&facts);
    match json {
        true => output::line(show::json(&findings, facts.caller.is_root(), args.quiet).to_string()),
        false => output::text_out(show::text(&findings, args.quiet)),
    }
    Ok(i32::from(findings.iter().any(|f| f.state == State::Error)))
}
