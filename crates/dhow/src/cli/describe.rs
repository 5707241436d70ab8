//! Every command and flag as JSON, which `cargo xtask docs` makes docs/cli.md and the man pages of. What it says is
//! taken from the definitions that parse the words, so it can't say anything else than what is true.

use super::commands::{COMMANDS, Command, FAMILIES, UNBUILT};
use super::global;
use crate::flags::table::{self, State};
use clap::{Arg, ArgAction};
use serde_json::{Value, json};

/// The hidden command that prints it.
pub const WORD: &str = "__describe";

/// The document.
pub fn all() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commands": COMMANDS.iter().map(command).collect::<Vec<_>>(),
        "families": FAMILIES.iter().map(|(name, summary)| json!({ "name": name, "summary": summary })).collect::<Vec<_>>(),
        "unbuilt": UNBUILT,
        "options": global::HELP,
    })
}

fn command(row: &Command) -> Value {
    let definition = row.described();
    // A hidden one is there to be refused, unless Docker lists it.
    let kept = |a: &Arg| !a.is_hide_set() || table::state(row.names[0], a.get_long().unwrap_or_default()) != State::Own;
    let told = |a: &&Arg| !a.is_positional() && kept(a);
    let flags: Vec<Value> = definition.get_arguments().filter(told).map(|a| flag(row.names[0], a)).collect();
    let refused: Vec<Value> = table::refused(row.names[0])
        .into_iter()
        .map(|(f, reason)| json!({ "short": f.short, "long": f.long, "state": "refused", "why": reason }))
        .collect();
    json!({
        "names": row.names,
        "group": row.group,
        "summary": row.summary,
        "usage": row.usage,
        "flags": flags,
        "refused": refused,
        "more": definition.get_after_help().map(ToString::to_string),
    })
}

fn flag(command: &str, arg: &Arg) -> Value {
    let long = arg.get_long().unwrap_or_default();
    let valued = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value = valued.then(|| arg.get_value_names().and_then(|n| n.first()).map_or("VALUE", |name| name.as_str()));
    let defaults: Vec<String> = match valued {
        true => arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect(),
        false => Vec::new(),
    };
    let (state, why) = match table::state(command, long) {
        State::Works => ("works", ""),
        State::Partly(why) => ("some values", why),
        State::Idle(why) => ("no effect", why),
        State::Refused(why) => ("refused", why),
        State::Own => ("dhow's own", ""),
    };
    json!({
        "short": arg.get_short(),
        "long": long,
        "aliases": arg.get_all_aliases().unwrap_or_default(),
        "value": value,
        "optional": arg.is_require_equals_set(),
        "many": matches!(arg.get_action(), ArgAction::Append),
        "default": defaults.join(","),
        "help": arg.get_help().map(ToString::to_string).unwrap_or_default(),
        "heading": arg.get_help_heading(),
        "state": state,
        "why": why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_with_their_states() {
        let all = all();
        let commands = all["commands"].as_array().unwrap();
        assert_eq!(commands.len(), COMMANDS.len());
        let run = commands.iter().find(|c| c["names"][0] == "run").unwrap();
        let find =
            |list: &str, long: &str| run[list].as_array().unwrap().iter().find(|f| f["long"] == long).cloned().unwrap();
        let env = find("flags", "env");
        assert_eq!((&env["short"], &env["state"], &env["many"]), (&json!("e"), &json!("works"), &json!(true)));
        assert_eq!(find("flags", "rootfs")["state"], "dhow's own");
        assert_eq!(find("flags", "platform")["state"], "some values");
        assert_eq!(find("refused", "gpus")["state"], "refused");
        // Nothing is left without a word about it.
        for flag in commands.iter().flat_map(|c| c["flags"].as_array().unwrap()) {
            assert_ne!(flag["help"], "", "{flag}");
            assert_ne!(flag["long"], "", "{flag}");
        }
    }
}
