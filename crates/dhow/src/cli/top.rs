//! `top`.

use super::context::Context;
use super::{output, table};
use anyhow::Result;
use clap::Parser;
use dhow_api::TopResponse;
use dhow_client::query::{self, encode};

/// Least width of a column, Docker's.
const LEAST_WIDTH: usize = 20;

/// Show the processes of a container
#[derive(Parser, Debug)]
#[command(override_usage = "dhow top CONTAINER [ps OPTIONS]")]
pub struct TopArgs {
    /// Container, by name or id, then options of ps: -ef (if there are none), -e, aux, ax, -o COLUMN,...
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_name = "CONTAINER [ps OPTIONS]")]
    words: Vec<String>,
}

/// `dhow top`.
pub fn top(context: &Context, args: TopArgs) -> Result<i32> {
    let Some((container, options)) = args.words.split_first() else { return Ok(1) };
    let options = Some(options.join(" ")).filter(|options| !options.is_empty());
    let path = format!("/containers/{}/top{}", encode(container), query::build(&[("ps_args", options)]));
    let told: TopResponse = context.with_daemon(&context.client(), |c| c.get(&path))?;
    let titles: Vec<&str> = told.titles.iter().map(String::as_str).collect();
    output::text_out(table::render_wide(&titles, &told.processes, LEAST_WIDTH));
    Ok(0)
}
