//! `system check`: what a check finds, for people or as JSON lines, and its exit code.
//!
//! Where the lines come from, a daemon or this process itself, is no concern of the printing.

use super::context::Context;
use super::{output, units};
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use dhow_api::{CheckDone, CheckFinding, CheckLine};
use dhow_client::query;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

/// Check that everything in the store is whole, and mend what can be mended
#[derive(Parser, Debug)]
#[command(
    name = "check",
    after_help = "Reads every file of every layer and compares modes, owners, times and attributes with what the layer's\n\
                  archive says. Exit code: 0 = whole (or mended), 1 = something is wrong.\n\
                  --root is for when no daemon runs, or when it does not start because the database is damaged."
)]
pub struct CheckArgs {
    /// Mend what can be mended
    #[arg(long)]
    pub repair: bool,
    /// Print `json`, a line for each thing
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Check the root directory of a daemon that does not run
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// Whether these are the words of a check of a root directory, which needs no daemon.
pub fn is_offline(words: &[OsString]) -> bool {
    let text = |n: usize| words.get(n).and_then(|w| w.to_str());
    let root = |w: &OsString| w.to_str().is_some_and(|w| w == "--root" || w.starts_with("--root="));
    text(0) == Some("system") && text(1) == Some("check") && words.iter().any(root)
}

/// `dhow system check`, by the daemon.
pub fn check(context: &Context, args: CheckArgs) -> Result<i32> {
    /// One line may not be longer.
    const MAX_LINE: u64 = 1024 * 1024;
    let mut printer = Printer::new(&args)?;
    let client = context.client();
    context.awake(&client)?;
    let path = format!("/dhow/check{}", query::build(&[("repair", query::flag(args.repair))]));
    let mut lines = BufReader::new(client.send("POST", &path)?.body);
    let mut line = String::new();
    loop {
        line.clear();
        if (&mut lines).take(MAX_LINE).read_line(&mut line)? == 0 {
            bail!("the daemon broke the check off");
        }
        if let Some(code) = printer.line(&serde_json::from_str(&line).context("a message of the daemon")?)? {
            return Ok(code);
        }
    }
}

/// Prints lines as they come.
pub struct Printer {
    json: bool,
    repair: bool,
    mendable: u64,
}

impl Printer {
    /// For these options.
    pub fn new(args: &CheckArgs) -> Result<Self> {
        let json = match args.format.as_deref() {
            None | Some("") => false,
            Some("json") => true,
            Some(other) => bail!("--format {other}: only json is known"),
        };
        Ok(Self { json, repair: args.repair, mendable: 0 })
    }

    /// Prints one line; the exit code if it was the last.
    pub fn line(&mut self, line: &CheckLine) -> Result<Option<i32>> {
        if self.json {
            output::line(serde_json::to_string(line)?);
        }
        if let Some(finding) = &line.finding {
            self.mendable += u64::from(finding.outcome == "mendable");
            if !self.json {
                output::line(shown(finding));
            }
        }
        if let Some(error) = &line.error {
            bail!("the check could not go on: {error}");
        }
        let Some(done) = &line.done else { return Ok(None) };
        if !self.json {
            output::line(summary(done, self.repair, self.mendable));
        }
        Ok(Some(i32::from(done.wrong > 0)))
    }
}

fn shown(f: &CheckFinding) -> String {
    let mark = match f.outcome.as_str() {
        "mended" => "mended",
        "note" => "note",
        _ => "WRONG",
    };
    let advice = f.advice.as_ref().map(|a| format!("\n        {a}")).unwrap_or_default();
    format!("{mark:<7} {}: {}{advice}", f.about, f.problem)
}

fn summary(d: &CheckDone, repair: bool, mendable: u64) -> String {
    let size = units::human_size(i64::try_from(d.bytes).unwrap_or(i64::MAX));
    let looked = format!("{} images, {} layers, {size} checked", d.images, d.layers);
    match (d.wrong, d.mended) {
        (0, 0) => format!("{looked}: everything is whole"),
        (0, mended) => format!("{looked}: {mended} mended, everything is whole now"),
        (wrong, 0) if !repair && mendable > 0 => {
            format!("{looked}: {wrong} wrong; --repair can mend {mendable} of them")
        }
        (wrong, 0) => format!("{looked}: {wrong} wrong"),
        (wrong, mended) => format!("{looked}: {mended} mended, {wrong} still wrong"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_what_is_left_to_do() {
        let done = |wrong, mended| CheckDone { images: 1, layers: 2, bytes: 3000, wrong, mended };
        for (d, repair, mendable, want) in [
            (done(0, 0), false, 0, "1 images, 2 layers, 3kB checked: everything is whole"),
            (done(0, 2), true, 0, "1 images, 2 layers, 3kB checked: 2 mended, everything is whole now"),
            (done(3, 0), false, 2, "1 images, 2 layers, 3kB checked: 3 wrong; --repair can mend 2 of them"),
            (done(3, 0), true, 0, "1 images, 2 layers, 3kB checked: 3 wrong"),
            (done(1, 2), true, 0, "1 images, 2 layers, 3kB checked: 2 mended, 1 still wrong"),
        ] {
            assert_eq!(summary(&d, repair, mendable), want);
        }
    }

    #[test]
    fn which_words_need_no_daemon() {
        for (words, want) in [
            ("system check --root /x", true),
            ("system check --repair --root=/x", true),
            ("system check", false),
            ("system info --root", false),
        ] {
            let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            assert_eq!(is_offline(&words), want, "{words:?}");
        }
    }
}
