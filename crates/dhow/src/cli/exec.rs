//! `exec`.

use super::context::Context;
use super::session::{End, Session, hold_signals};
use super::{keys, output, terminal};
use crate::flags::{env, values};
use anyhow::Result;
use clap::Parser;
use dhow_api::config::Words;
use dhow_api::{ExecCreateRequest, ExecInspect, ExecStartRequest, IdResponse};
use dhow_client::query;

/// Run another program in a running container
#[derive(Parser, Debug)]
#[command(override_usage = "dhow exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub struct ExecArgs {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave the program without ending it
    #[arg(long, value_name = "KEYS", default_value_t = keys::configured())]
    detach_keys: String,
    /// Environment variable (NAME=VALUE)
    #[arg(short, long, value_parser = values::variable)]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<std::path::PathBuf>,
    /// Send standard input
    #[arg(short, long)]
    interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    tty: bool,
    /// All capabilities
    #[arg(long)]
    privileged: bool,
    /// User, or user:group
    #[arg(short, long)]
    user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Container, then the program and its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_name = "CONTAINER COMMAND [ARG...]")]
    words: Vec<String>,
}

/// `dhow exec`.
pub fn exec(context: &Context, args: ExecArgs) -> Result<i32> {
    let detach = keys::parse(&args.detach_keys)?;
    if args.tty && args.interactive && !args.detach && !terminal::is_input() {
        anyhow::bail!("the input device is not a TTY");
    }
    let size = terminal::size().filter(|_| args.tty).map(|(rows, columns)| [rows.into(), columns.into()]);
    let request = ExecCreateRequest {
        user: args.user.clone().unwrap_or_default(),
        privileged: args.privileged,
        tty: args.tty,
        console_size: size,
        attach_stdin: args.interactive && !args.detach,
        attach_stdout: !args.detach,
        attach_stderr: !args.detach,
        detach_keys: if args.tty { args.detach_keys.clone() } else { String::new() },
        env: Some(env::variables(&args.env_file, &args.env, &|name| std::env::var(name).ok())?)
            .filter(|e| !e.is_empty()),
        working_dir: args.workdir.clone().unwrap_or_default(),
        cmd: Some(Words(args.words[1..].to_vec())),
    };
    let client = context.client();
    let path = format!("/containers/{}/exec", query::encode(&args.words[0]));
    let IdResponse { id } = context.with_daemon(&client, |c| c.post(&path, &request))?;
    let start = ExecStartRequest { detach: args.detach, tty: args.tty, console_size: size };
    let start_path = format!("/exec/{id}/start");
    if args.detach {
        client
            .send_json("POST", &start_path, &start)
            .map_err(|e| super::run::engine_failed("exec", &e.into()))?
            .finish()?;
        return Ok(0);
    }
    let signals = hold_signals()?;
    let stream = client
        .hijack(&start_path, Some(serde_json::to_vec(&start)?))
        .map_err(|e| super::run::engine_failed("exec", &e.into()))?;
    let session = Session {
        client: &client,
        resize: format!("/exec/{id}/resize"),
        kill: None,
        tty: args.tty,
        input: args.interactive,
        detach,
    };
    if session.run(stream, &signals)? == End::Detached {
        output::note("read escape sequence");
        return Ok(0);
    }
    let ended: ExecInspect = client.get(&format!("/exec/{id}/json"))?;
    Ok(ended.exit_code.and_then(|c| i32::try_from(c).ok()).unwrap_or(0))
}
