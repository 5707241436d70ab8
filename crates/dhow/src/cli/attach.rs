//! `attach`, and the attached half of `start -a`.

use super::context::Context;
use super::session::{End, Session, hold_signals};
use super::{keys, output, terminal};
use anyhow::{Result, bail};
use clap::Parser;
use dhow_api::{ContainerInspect, WaitResponse};
use dhow_client::{Client, query};

/// Connect the terminal to a running container
#[derive(Parser, Debug)]
pub struct AttachArgs {
    /// Keys that leave the container without ending it
    #[arg(long, value_name = "KEYS", default_value_t = keys::configured())]
    detach_keys: String,
    /// Don't send standard input
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the program (true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    sig_proxy: bool,
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// `dhow attach`.
pub fn attach(context: &Context, args: AttachArgs) -> Result<i32> {
    let client = context.client();
    let inspected: ContainerInspect =
        context.with_daemon(&client, |c| c.get(&format!("/containers/{}/json", query::encode(&args.container))))?;
    if !inspected.state.running {
        bail!("cannot attach to a stopped container, start it first: dhow start -a {}", args.container);
    }
    if inspected.state.paused {
        bail!("You cannot attach to a paused container, unpause it first");
    }
    let input = !args.no_stdin && inspected.config.open_stdin;
    if inspected.config.tty && input && !terminal::is_input() {
        bail!("cannot attach stdin to a TTY-enabled container because stdin is not a terminal");
    }
    follow(&client, &inspected, input, &args.detach_keys, args.sig_proxy, || Ok(()))
}

/// Attaches, runs `start`, shows the output and gives the program's exit code.
pub fn follow(
    client: &Client,
    container: &ContainerInspect,
    input: bool,
    detach_keys: &str,
    sig_proxy: bool,
    start: impl FnOnce() -> Result<()>,
) -> Result<i32> {
    let id = &container.id;
    let tty = container.config.tty;
    let detach = keys::parse(detach_keys)?;
    let signals = hold_signals()?;
    let stream = client.hijack(
        &format!(
            "/containers/{id}/attach{}",
            query::build(&[
                ("stream", query::flag(true)),
                ("stdin", query::flag(input)),
                ("stdout", query::flag(true)),
                ("stderr", query::flag(true)),
                ("detachKeys", tty.then(|| detach_keys.to_owned())),
            ])
        ),
        None,
    )?;
    let waiter = client.sibling();
    let condition = if container.state.running {
        "not-running"
    } else if container.host_config.auto_remove {
        "removed"
    } else {
        "next-exit"
    };
    let wait = waiter.send("POST", &format!("/containers/{id}/wait?condition={condition}"))?;
    start()?;
    let session = Session {
        client,
        resize: format!("/containers/{id}/resize"),
        kill: sig_proxy.then(|| format!("/containers/{id}/kill")),
        tty,
        input,
        detach,
    };
    if tty {
        session.send_size();
    }
    if session.run(stream, &signals)? == End::Detached {
        output::note("read escape sequence");
        return Ok(0);
    }
    // The stream also ends when somebody else's keys detached it: then the container runs on.
    let now: ContainerInspect = match client.get(&format!("/containers/{id}/json")) {
        Ok(now) => now,
        Err(_) => return Ok(i32::try_from(wait.json::<WaitResponse>()?.status_code).unwrap_or(1)),
    };
    if now.state.running && tty {
        return Ok(0);
    }
    Ok(i32::try_from(wait.json::<WaitResponse>()?.status_code).unwrap_or(1))
}
