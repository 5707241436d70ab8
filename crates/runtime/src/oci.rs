//! The command line of an OCI runtime, with runc's commands and flags: what `dhow oci`, and `runc` as a name of the
//! binary, do.
//!
//! ```text
//!   args ─► command line (`args`) ─► command ─► container record on disk (`record`) ─► crate::{create, exec}
//! ```
//!
//! Nothing here prints or reads the environment by itself: the caller hands in the streams and the environment.
//! What runc has and this runtime has not (checkpoint, restore, events, the systemd cgroup driver) is refused by name.

mod args;
mod control;
mod exec;
mod features;
mod foreground;
mod ids;
mod log;
mod query;
mod record;
mod run;
mod spec_file;
mod terminal;
mod time;
mod update;

use crate::context::Context;
use crate::reexec::reexec_readonly;
use args::{Flag, Line};
use dhow_types::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where state is kept without `--root`.
const DEFAULT_ROOT: &str = "/run/dhow-oci";

/// What a command may use of the outside.
pub struct Io<'a> {
    /// Answers.
    pub out: &'a mut dyn Write,
    /// Complaints.
    pub err: &'a mut dyn Write,
    /// The environment, for starting ourselves again and for descriptors handed over by socket activation.
    pub env: Vec<(OsString, OsString)>,
    /// Version and commit, for `--version`.
    pub version: &'a str,
}

/// The options before the command.
pub(crate) struct Global {
    pub(crate) root: PathBuf,
    pub(crate) env: Vec<(OsString, OsString)>,
}

const GLOBAL: &[Flag] = &[
    Flag::value("root", ""),
    Flag::value("log", ""),
    Flag::value("log-format", ""),
    Flag::value("rootless", ""),
    Flag::value("criu", ""),
    Flag::switch("debug", ""),
    Flag::switch("systemd-cgroup", ""),
    Flag::switch("version", "v"),
    Flag::switch("help", "h"),
];

const HELP: &str = "dhow oci: an OCI runtime with runc's commands

Usage: dhow oci [--root DIR] [--log FILE] [--log-format text|json] [--debug] COMMAND [OPTIONS] [ID] ...

  create ID        make a container from a bundle; its program waits
  start ID         run the program of a created container
  run ID           both, and wait for it (--detach: do not wait)
  exec ID CMD...   run another program in a container
  state ID         the container's state as JSON
  list             all containers (--format json, --quiet)
  ps ID            the processes of a container (--format json)
  kill ID [SIG]    send a signal (--all: to all its processes)
  pause ID, resume ID
  update ID        change limits (--resources FILE, or flags)
  delete ID        remove what is left of a container (--force: end it first)
  spec             write a config.json to begin with
  features         what this runtime supports, as JSON

Options of create and run: --bundle DIR, --pid-file FILE, --console-socket PATH, --pidfd-socket PATH,
  --preserve-fds N, --no-pivot, --no-new-keyring; run also --detach, --keep.
Options may stand before or after ID.
";

/// Runs a command. `args` are all arguments, the program's own name (or names: `dhow`, `oci`) counted by `skip`.
/// Returns the exit code.
pub fn run(args: Vec<OsString>, skip: usize, mut io: Io<'_>) -> i32 {
    let mut sink = log::Sink::default();
    match dispatch(args, skip, &mut io, &mut sink) {
        Ok(code) => code,
        Err(e) => {
            sink.error(&e, io.err);
            match e.kind() {
                ErrorKind::CommandNotFound => 127,
                ErrorKind::CommandNotExecutable => 126,
                _ => 1,
            }
        }
    }
}

fn dispatch(args: Vec<OsString>, skip: usize, io: &mut Io<'_>, sink: &mut log::Sink) -> Result<i32> {
    let words = args.iter().skip(skip).cloned().collect::<Vec<_>>();
    let line = Line::until_command(GLOBAL, words)?;
    if line.has("help") || (line.rest.is_empty() && !line.has("version")) {
        io.out.write_all(HELP.as_bytes()).context("print the help")?;
        return Ok(0);
    }
    if line.has("version") {
        let text = format!("dhow oci version {}\nspec: {}\n", io.version, crate::spec::OCI_VERSION);
        io.out.write_all(text.as_bytes()).context("print the version")?;
        return Ok(0);
    }
    *sink = log::Sink::new(line.text("log")?, line.text("log-format")?)?;
    if line.has("systemd-cgroup") {
        return Err(Error::not_implemented(
            "--systemd-cgroup: the systemd cgroup driver is not supported; leave the flag out (cgroupfs is used)",
        ));
    }
    match line.text("rootless")? {
        None | Some("auto" | "false") => {}
        Some(_) => return Err(Error::not_implemented("--rootless: only auto and false are supported")),
    }
    let mut rest = line.rest.clone();
    let command = args::text(&rest.remove(0))?;
    let root = match line.path("root") {
        Some(path) => std::path::absolute(path).context("--root")?,
        None => PathBuf::from(DEFAULT_ROOT),
    };
    if matches!(command.as_str(), "create" | "run" | "exec") {
        reexec_readonly(args, io.env.iter().cloned())?;
    }
    let global = Global { root, env: std::mem::take(&mut io.env) };
    let mut warn = |warnings: &[String]| sink.warnings(warnings, io.err);
    match command.as_str() {
        "create" => run::create(&global, rest, &mut warn),
        "run" => run::run(&global, rest, &mut warn),
        "start" => run::start(&global, rest),
        "exec" => exec::exec(&global, rest, &mut warn),
        "state" => query::state(&global, rest, io.out),
        "list" => query::list(&global, rest, io.out),
        "ps" => query::ps(&global, rest, io.out),
        "kill" => control::kill(&global, rest),
        "delete" => control::delete(&global, rest, &mut warn),
        "pause" => control::freeze(&global, rest, true),
        "resume" => control::freeze(&global, rest, false),
        "update" => update::update(&global, rest, &mut warn),
        "spec" => spec_file::write(rest),
        "features" => features::print(io.out),
        "help" => {
            io.out.write_all(HELP.as_bytes()).context("print the help")?;
            Ok(0)
        }
        "checkpoint" | "restore" | "events" => {
            Err(Error::not_implemented(format!("the command {command} is not supported by this runtime")))
        }
        other => Err(Error::invalid(format!("unknown command {other:?}; `dhow oci help` lists them"))),
    }
}

/// The bundle directory as an absolute path.
pub(crate) fn bundle_dir(given: Option<&Path>) -> Result<PathBuf> {
    let dir = given.unwrap_or(Path::new("."));
    std::fs::canonicalize(dir).with_context(|| format!("bundle {}", dir.display()))
}
