//! `dhow daemon`: the engine behind its socket, one process on one thread of tasks.
//!
//! Words and configuration file become settings here; what the engine does with them lives in `dhow-engine`,
//! and how it is asked in `dhow-server`.

mod registries;
pub mod settings;

use crate::cli::output;
use crate::flags::parse::{Count, Grammar, parse};
use anyhow::{Context as _, Result, bail};
use settings::Settings;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

/// Threads for blocking work (mounts, file systems, netlink); they end when idle.
const BLOCKING_THREADS: usize = 16;
/// How long an idle one is kept.
const BLOCKING_IDLE: std::time::Duration = std::time::Duration::from_secs(3);

/// Runs the daemon until a signal ends it; gives the exit code.
pub fn main(words: Vec<OsString>) -> i32 {
    let grammar = Grammar {
        path: "daemon",
        usage: "[OPTIONS]",
        arguments: Count { least: 0, most: Some(0) },
        aliases: Vec::new(),
    };
    let args: settings::DaemonArgs = match parse(&grammar, words) {
        Ok(args) => args,
        Err(stop) => return stop.say(),
    };
    match run(args) {
        Ok(()) => 0,
        Err(error) => {
            output::note(format!("dhow daemon: {error:#}"));
            1
        }
    }
}

fn run(args: settings::DaemonArgs) -> Result<()> {
    let background = args.background;
    let settings = settings::resolve(args, |path| std::fs::read_to_string(path), |name| std::env::var(name).ok())?;
    if !rustix::process::geteuid().is_root() {
        bail!("the daemon must be run by root (running without root is not built yet): use sudo");
    }
    if background {
        // A session of its own, so that the terminal that started it can close.
        rustix::process::setsid().context("start a session")?;
    }
    logging(settings.debug);
    // Threads come and go with the load; what they allocated must not stay behind in a heap for each.
    dhow_sys::heap::limit_arenas(2);
    // The environment of the caller must not reach containers; nothing in the engine reads it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_IDLE)
        .thread_stack_size(512 * 1024)
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(serve(settings, background));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result
}

async fn serve(settings: Settings, background: bool) -> Result<()> {
    let listeners =
        settings.hosts.iter().map(|host| dhow_server::Listener::open(host)).collect::<dhow_types::Result<Vec<_>>>()?;
    let pid_file = settings.pid_file.clone();
    let engine = dhow_engine::Engine::open(settings.engine).await?;
    write_pid(&pid_file)?;
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut int = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    tracing::info!("listening on {}", settings.hosts.join(", "));
    if background {
        ready()?;
    }
    let stop = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    let served = dhow_server::serve(engine, listeners, stop).await.map_err(Into::into);
    // Containers go on; the next daemon takes them up.
    let _ = std::fs::remove_file(&pid_file);
    served
}

/// Tells the command that started us, then lets go of its pipe.
fn ready() -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(b"ready\n")?;
    out.flush()?;
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

fn write_pid(file: &Path) -> Result<()> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    std::fs::write(file, format!("{}\n", std::process::id())).with_context(|| format!("write {}", file.display()))
}

fn logging(debug: bool) {
    let level = if debug { tracing::Level::DEBUG } else { tracing::Level::INFO };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .init();
}
