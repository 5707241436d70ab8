//! The commands that do one thing to each container they are given: start, stop, kill, rm, wait.

use super::context::Context;
use super::{Exit, attach, keys, output, run};
use anyhow::{Result, bail};
use clap::Parser;
use dhow_api::{ContainerInspect, WaitResponse};
use dhow_client::query::{self, encode};

/// Runs `each` for every name; prints the names that went well, says the others, and gives Docker's exit code.
fn for_each(names: &[String], print: bool, mut each: impl FnMut(&str) -> Result<()>) -> Result<i32> {
    let mut code = 0;
    for name in names {
        match each(name) {
            Ok(()) if print => output::line(name),
            Ok(()) => {}
            // said already
            Err(error) if error.downcast_ref::<Exit>().is_some() => {
                code = error.downcast_ref::<Exit>().map_or(code, |Exit(c)| code.max(*c));
            }
            Err(error) => {
                output::note(format!("{error:#}"));
                code = 1;
            }
        }
    }
    Ok(code)
}

/// Start containers
#[derive(Parser, Debug)]
pub struct StartArgs {
    /// Show the output and pass signals on
    #[arg(short, long)]
    attach: bool,
    /// Send standard input
    #[arg(short, long)]
    interactive: bool,
    /// Keys that leave the container without ending it
    #[arg(long, value_name = "KEYS", default_value = keys::DEFAULT)]
    detach_keys: String,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// `dhow start`.
pub fn start(context: &Context, args: StartArgs) -> Result<i32> {
    let client = context.client();
    if args.attach || args.interactive {
        let [name] = &args.containers[..] else { bail!("you cannot start and attach multiple containers at once") };
        let inspected: ContainerInspect =
            context.with_daemon(&client, |c| c.get(&format!("/containers/{}/json", encode(name))))?;
        let input = args.interactive && inspected.config.open_stdin;
        let id = inspected.id.clone();
        return attach::follow(&client, &inspected, input, &args.detach_keys, true, || {
            client
                .post_empty(&format!("/containers/{id}/start"))
                .map_err(|e| run::engine_failed("start", &e.into()))?;
            Ok(())
        });
    }
    for_each(&args.containers, true, |name| {
        context.with_daemon(&client, |c| c.post_empty(&format!("/containers/{}/start", encode(name))))?;
        Ok(())
    })
}

/// Ask containers to end, then make them
#[derive(Parser, Debug)]
pub struct StopArgs {
    /// Seconds to wait before they are killed; -1 waits for ever
    #[arg(
        short = 't',
        long = "timeout",
        visible_alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    timeout: Option<i64>,
    /// Signal to send first
    #[arg(short, long)]
    signal: Option<String>,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// `dhow stop`.
pub fn stop(context: &Context, args: StopArgs) -> Result<i32> {
    let client = context.client();
    let query = query::build(&[("t", args.timeout.map(|t| t.to_string())), ("signal", args.signal.clone())]);
    for_each(&args.containers, true, |name| {
        context.with_daemon(&client, |c| c.post_empty(&format!("/containers/{}/stop{query}", encode(name))))?;
        Ok(())
    })
}

/// Send a signal to containers
#[derive(Parser, Debug)]
pub struct KillArgs {
    /// Signal, by name or number (KILL)
    #[arg(short, long)]
    signal: Option<String>,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// `dhow kill`.
pub fn kill(context: &Context, args: KillArgs) -> Result<i32> {
    let client = context.client();
    let query = query::build(&[("signal", args.signal.clone())]);
    for_each(&args.containers, true, |name| {
        context.with_daemon(&client, |c| c.post_empty(&format!("/containers/{}/kill{query}", encode(name))))?;
        Ok(())
    })
}

/// Remove containers
#[derive(Parser, Debug)]
pub struct RmArgs {
    /// Kill those that run first
    #[arg(short, long)]
    force: bool,
    /// Remove their anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// `dhow rm`. Several at once are removed side by side.
pub fn rm(context: &Context, args: RmArgs) -> Result<i32> {
    /// Removals under way at one time.
    const WIDTH: usize = 8;
    let query = query::build(&[("force", query::flag(args.force)), ("v", query::flag(args.volumes))]);
    let remove = |client: &dhow_client::Client, name: &str| -> Result<()> {
        let path = format!("/containers/{}{query}", encode(name));
        match context.with_daemon(client, |c| c.send("DELETE", &path).and_then(dhow_client::Response::finish)) {
            // What is gone already is what `-f` asks for: said, but no failure.
            Err(e) if args.force && matches!(e.downcast_ref(), Some(dhow_client::Error::Api { status: 404, .. })) => {
                output::note(format!("{e:#}"));
                Err(Exit(0).into())
            }
            other => other.map(|_| ()),
        }
    };
    if args.containers.len() == 1 {
        let client = context.client();
        return for_each(&args.containers, true, |name| remove(&client, name));
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results: Vec<std::sync::Mutex<Option<Result<()>>>> =
        args.containers.iter().map(|_| Default::default()).collect();
    std::thread::scope(|scope| {
        for _ in 0..WIDTH.min(args.containers.len()) {
            scope.spawn(|| {
                let client = context.client();
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(name) = args.containers.get(at) else { break };
                    let result = remove(&client, name);
                    if let Ok(mut slot) = results[at].lock() {
                        *slot = Some(result);
                    }
                }
            });
        }
    });
    let mut at = 0;
    for_each(&args.containers, true, |_| {
        at += 1;
        results[at - 1].lock().ok().and_then(|mut r| r.take()).unwrap_or_else(|| bail!("the removal was cut short"))
    })
}

/// Wait until containers end and print their exit codes
#[derive(Parser, Debug)]
pub struct WaitArgs {
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// `dhow wait`.
pub fn wait(context: &Context, args: WaitArgs) -> Result<i32> {
    let client = context.client();
    for_each(&args.containers, false, |name| {
        let ended: WaitResponse =
            context.with_daemon(&client, |c| c.send("POST", &format!("/containers/{}/wait", encode(name)))?.json())?;
        output::line(ended.status_code.to_string());
        Ok(())
    })
}
