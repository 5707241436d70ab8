//! `cargo xtask docs`: docs/cli.md and the man pages, from what the binary says of itself (`dhow __describe`), which is
//! what it parses words with. Never written by hand.

mod man;
mod markdown;

use crate::run;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// `cargo xtask docs [--check] [--man DIR]`.
pub fn command(words: &[String]) -> Result<bool> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run::run(run::cargo().args(["build", "--quiet", "-p", "dhow"]))?;
    let dhow = run::built("debug")?.join("dhow");
    match words[..] {
        [] => {
            let path = run::root().join(markdown::PATH);
            std::fs::write(&path, markdown::page(&described(&dhow)?)).with_context(|| path.display().to_string())?;
            Ok(true)
        }
        ["--check"] => is_current(&dhow),
        ["--man", dir] => man::write(&described(&dhow)?, Path::new(dir)).map(|()| true),
        _ => bail!("want nothing, --check, or --man DIR"),
    }
}

/// Whether the page that is there is what the binary says; where not, says so.
pub fn is_current(dhow: &Path) -> Result<bool> {
    let path = run::root().join(markdown::PATH);
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let same = there == markdown::page(&described(dhow)?);
    if !same {
        eprintln!("{} is not what `dhow` says of itself: run `cargo xtask docs`", markdown::PATH);
    }
    Ok(same)
}

fn described(dhow: &Path) -> Result<Value> {
    let text = run::output(Command::new(dhow).arg("__describe"))?;
    serde_json::from_str(&text).context("read what dhow says of itself")
}

/// The text of a field, empty if it is absent or null.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The items of a list.
fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A flag as it is written: `-f, --filter FILTER`.
fn written(flag: &Value) -> String {
    let short = flag["short"].as_str().map(|s| format!("-{s}, ")).unwrap_or_default();
    let aliases = list(flag, "aliases").iter().filter_map(Value::as_str).map(|name| format!(", --{name}"));
    let mut out = format!("{short}--{}{}", text(flag, "long"), aliases.collect::<String>());
    match flag["value"].as_str() {
        Some(value) if flag["optional"] == true => out.push_str(&format!("[={value}]")),
        Some(value) => out.push_str(&format!(" {value}")),
        None => {}
    }
    out
}

/// What a flag does, with what it is if it is not given, and whether it may be given again.
fn meaning(flag: &Value) -> String {
    let mut out = text(flag, "help").split_whitespace().collect::<Vec<_>>().join(" ");
    if flag["many"] == true {
        out.push_str("; may be given several times");
    }
    let default = text(flag, "default");
    if !default.is_empty() && !out.contains(default) {
        out.push_str(&format!(" (default {default})"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn example() -> Value {
        json!({
            "version": "1.2.3",
            "options": "  -H, --host HOST     Socket\n",
            "families": [{"name": "image", "summary": "Manage images"}],
            "unbuilt": ["build", "image build"],
            "commands": [{
                "names": ["rm", "container rm"], "group": "Run", "summary": "Remove | containers", "usage": "[OPTIONS] CONTAINER",
                "more": null,
                "flags": [
                    {"short": "f", "long": "force", "aliases": [], "value": null, "optional": false, "many": false,
                     "default": "", "help": "Also one that\nruns", "state": "works", "why": ""},
                    {"short": null, "long": "time", "aliases": ["timeout"], "value": "N", "optional": false, "many": true,
                     "default": "10", "help": "Seconds", "state": "some values", "why": "up to `60`"},
                ],
                "refused": [{"short": "l", "long": "link", "state": "refused", "why": "there are no links"}],
            }],
        })
    }

    #[test]
    fn a_page_has_each_flag_with_its_state() {
        let page = markdown::page(&example());
        for line in [
            "## rm",
            "Remove | containers. Also `container rm`.",
            "| `-f, --force` | works | Also one that runs |",
            "| `--time, --timeout N` | some values | Seconds; may be given several times (default 10). Up to `60` |",
            "| `-l, --link` | refused | there are no links |",
            "`build`, `image build`",
        ] {
            assert!(page.lines().any(|l| l.contains(line)), "{line}\n{page}");
        }
    }

    #[test]
    fn a_man_page_is_troff() {
        let pages = man::pages(&example());
        let (name, text) = &pages[1];
        assert_eq!(name, "dhow-rm.1");
        assert!(text.starts_with(".TH DHOW\\-RM 1 \"\" \"dhow 1.2.3\""), "{text}");
        assert!(text.contains(".B dhow rm\n[OPTIONS] CONTAINER\n"), "{text}");
        assert!(text.contains(".TP\n\\fB\\-f, \\-\\-force\\fR\nAlso one that runs\n"), "{text}");
        assert_eq!(pages[0].0, "dhow.1");
        assert!(pages[0].1.contains("\\fBrm\\fR"), "{}", pages[0].1);
    }
}
