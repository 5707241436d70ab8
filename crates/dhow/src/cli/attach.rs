//! `attach`, and what `start -a` has in common with it.

use super::context::Context;
use super::session::{End, Session, hold_signals};
use super::{keys, terminal};
use anyhow::{Result, bail};
use clap::Parser;
use dhow_api::{ContainerInspect, ContainerState, WaitResponse};
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
    let path = format!("/containers/{}/json", query::encode(&args.container));
    let inspected: ContainerInspect = context.with_daemon(&client, |c| c.get(&path))?;
    can_be_attached(&inspected.state)?;
    // Docker asks for the terminal also where the container takes no input.
    if inspected.config.tty && !args.no_stdin && !terminal::is_input() {
        bail!("the input device is not a TTY");
    }
    let attached = Attached {
        client: &client,
        container: &inspected,
        input: !args.no_stdin && inspected.config.open_stdin,
        detach_keys: &args.detach_keys,
        sig_proxy: args.sig_proxy,
        wait_for: "not-running",
        redraw: true,
    };
    // Looked at once more when attached: to one that ended meanwhile the daemon attaches for its next start,
    // and nothing would ever come.
    let outcome = attached.follow(|| can_be_attached(&client.get::<ContainerInspect>(&path)?.state))?;
    match outcome {
        Outcome::Detached => bail!("read escape sequence"),
        Outcome::Ended(WaitResponse { error: Some(error), .. }) if !error.message.is_empty() => bail!(error.message),
        Outcome::Ended(ended) => Ok(i32::try_from(ended.status_code).unwrap_or(1)),
    }
}

/// Only what runs can be attached to; in the words of Docker's client.
fn can_be_attached(state: &ContainerState) -> Result<()> {
    if !state.running {
        bail!("You cannot attach to a stopped container, start it first");
    }
    if state.paused {
        bail!("You cannot attach to a paused container, unpause it first");
    }
    if state.restarting {
        bail!("You cannot attach to a restarting container, wait until it is running");
    }
    Ok(())
}

/// A container to be attached to, and how.
pub struct Attached<'a> {
    pub client: &'a Client,
    pub container: &'a ContainerInspect,
    /// Send standard input.
    pub input: bool,
    pub detach_keys: &'a str,
    /// Pass signals on. A container with a terminal gets none in any case: its terminal makes them of keys.
    pub sig_proxy: bool,
    /// The condition of the wait for the end.
    pub wait_for: &'a str,
    /// Have the program draw its screen anew: it started before we came.
    pub redraw: bool,
}

/// How an attached session ended.
pub enum Outcome {
    /// The caller typed the detach keys.
    Detached,
    /// The program ended.
    Ended(WaitResponse),
}

impl Attached<'_> {
    /// Attaches, does what is `then` to be done, and shows the output until the program ends or is left.
    pub fn follow(self, then: impl FnOnce() -> Result<()>) -> Result<Outcome> {
        let Attached { client, container, input, detach_keys, sig_proxy, wait_for, redraw } = self;
        let id = &container.id;
        let tty = container.config.tty;
        let detach = keys::parse(detach_keys)?;
        let signals = hold_signals()?;
        // Registered first, or a short program could end, and be removed, unseen.
        let waiter = client.sibling();
        let wait = waiter.send("POST", &format!("/containers/{id}/wait?condition={wait_for}"))?;
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
        if let Err(error) = then() {
            // One that is removed at its end is gone before its failure is told.
            if wait_for == "removed" {
                let _ = wait.finish();
            }
            return Err(error);
        }
        let session = Session {
            client,
            resize: format!("/containers/{id}/resize"),
            kill: (sig_proxy && !tty).then(|| format!("/containers/{id}/kill")),
            tty,
            input,
            detach,
        };
        if tty {
            if redraw {
                // A size that is no change tells the program nothing.
                session.send_size_and(1);
            }
            session.send_size();
        }
        Ok(match session.run(stream, &signals)? {
            End::Detached => Outcome::Detached,
            End::Closed => Outcome::Ended(wait.json()?),
        })
    }
}
