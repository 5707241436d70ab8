//! The commands that change a container that stays: restart, pause, unpause, rename.

use super::containers::{End, ended};
use super::context::Context;
use super::each::{for_each, side_by_side};
use super::{Exit, output};
use anyhow::{Result, bail};
use clap::Parser;
use dhow_client::query::{self, encode};

/// Stop containers if they run, and start them
#[derive(Parser, Debug)]
pub struct RestartArgs {
    #[command(flatten)]
    end: End,
}

/// `dhow restart`. One after the other, as they may need each other.
pub fn restart(context: &Context, args: RestartArgs) -> Result<i32> {
    let client = context.client();
    let query = args.end.query();
    for_each(&args.end.containers, true, |name| {
        ended(context, &client, &format!("/containers/{}/restart{query}", encode(name)), name)
    })
}

/// Make all processes of containers stand still
#[derive(Parser, Debug)]
pub struct PauseArgs {
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// `dhow pause`.
pub fn pause(context: &Context, args: PauseArgs) -> Result<i32> {
    side_by_side(context, &args.containers, |client, name| {
        context.with_daemon(client, |c| c.post_empty(&format!("/containers/{}/pause", encode(name))))?;
        Ok(())
    })
}

/// Let paused containers go on
#[derive(Parser, Debug)]
pub struct UnpauseArgs {
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// `dhow unpause`.
pub fn unpause(context: &Context, args: UnpauseArgs) -> Result<i32> {
    side_by_side(context, &args.containers, |client, name| {
        context.with_daemon(client, |c| c.post_empty(&format!("/containers/{}/unpause", encode(name))))?;
        Ok(())
    })
}

/// Give a container another name
#[derive(Parser, Debug)]
pub struct RenameArgs {
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    name: String,
}

/// `dhow rename`.
pub fn rename(context: &Context, args: RenameArgs) -> Result<i32> {
    let (old, new) = (args.container.trim(), args.name.trim());
    if old.is_empty() || new.is_empty() {
        bail!("Error: Neither old nor new names may be empty");
    }
    let path = format!("/containers/{}/rename{}", encode(old), query::build(&[("name", Some(new.to_owned()))]));
    if let Err(error) = context.with_daemon(&context.client(), |c| c.post_empty(&path)) {
        output::note(format!("{error:#}\nError: failed to rename container named {old}"));
        return Err(Exit(1).into());
    }
    Ok(0)
}
