//! The commands that start and end each container they are given: start, stop, kill, rm, wait.

use super::attach::{Attached, Outcome};
use super::context::Context;
use super::each::{for_each, side_by_side};
use super::{Exit, keys, output, run};
use anyhow::{Result, bail};
use clap::{Args, Parser};
use dhow_api::{ContainerInspect, WaitResponse};
use dhow_client::Client;
use dhow_client::query::{self, encode};

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
    #[arg(long, value_name = "KEYS", default_value_t = keys::configured())]
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
        let attached = Attached {
            client: &client,
            container: &inspected,
            input: args.interactive && inspected.config.open_stdin,
            detach_keys: &args.detach_keys,
            sig_proxy: true,
            wait_for: if inspected.host_config.auto_remove { "removed" } else { "next-exit" },
            redraw: false,
        };
        let start = || client.post_empty(&format!("/containers/{}/start", inspected.id)).map(drop);
        return Ok(match attached.follow(|| Ok(start()?))? {
            // Left as it was meant to be: nothing to say.
            Outcome::Detached => 0,
            Outcome::Ended(ended) => run::code_of_end(&ended),
        });
    }
    let mut failed = Vec::new();
    let code = for_each(&args.containers, true, |name| {
        let path = format!("/containers/{}/start", encode(name));
        if let Err(error) = context.with_daemon(&client, |c| c.post_empty(&path)) {
            failed.push(name.to_owned());
            return Err(error);
        }
        Ok(())
    })?;
    if !failed.is_empty() {
        output::note(format!("Error: failed to start containers: {}", failed.join(", ")));
    }
    Ok(code)
}

/// How containers are to end, and which: what `stop` and `restart` have in common.
#[derive(Args, Debug)]
pub struct End {
    /// Seconds to wait before they are killed; -1 waits for ever
    #[arg(short = 't', long = "timeout", alias = "time", value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Signal to send first
    #[arg(short, long)]
    signal: Option<String>,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl End {
    /// As parameters of a request.
    pub fn query(&self) -> String {
        query::build(&[("t", self.timeout.map(|t| t.to_string())), ("signal", self.signal.clone())])
    }
}

/// Ask containers to end, then make them
#[derive(Parser, Debug)]
pub struct StopArgs {
    #[command(flatten)]
    end: End,
}

/// `dhow stop`.
pub fn stop(context: &Context, args: StopArgs) -> Result<i32> {
    let query = args.end.query();
    side_by_side(context, &args.end.containers, |client, name| {
        ended(context, client, &format!("/containers/{}/stop{query}", encode(name)), name)
    })
}

/// Asks for an end, and says what the daemon has to say of it.
pub fn ended(context: &Context, client: &Client, path: &str, name: &str) -> Result<()> {
    let note = context.with_daemon(client, |c| {
        let response = c.send("POST", path)?;
        let note = response.header("dhow-note").map(str::to_owned);
        response.finish().map(|_| note)
    })?;
    if let Some(note) = note {
        output::note(format!("{name}: {note}"));
    }
    Ok(())
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
    let query = query::build(&[("signal", args.signal.clone())]);
    side_by_side(context, &args.containers, |client, name| {
        context.with_daemon(client, |c| c.post_empty(&format!("/containers/{}/kill{query}", encode(name))))?;
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

/// `dhow rm`.
pub fn rm(context: &Context, args: RmArgs) -> Result<i32> {
    let query = query::build(&[("force", query::flag(args.force)), ("v", query::flag(args.volumes))]);
    side_by_side(context, &args.containers, |client, name| {
        let name = name.trim_matches('/');
        if name.is_empty() {
            bail!("container name cannot be empty");
        }
        let path = format!("/containers/{}{query}", encode(name));
        match context.with_daemon(client, |c| c.send("DELETE", &path).and_then(dhow_client::Response::finish)) {
            // What is gone already is what `-f` asks for: said, but no failure.
            Err(e) if args.force && matches!(e.downcast_ref(), Some(dhow_client::Error::Api { status: 404, .. })) => {
                output::note(format!("{e:#}"));
                Err(Exit(0).into())
            }
            other => other.map(|_| ()),
        }
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
