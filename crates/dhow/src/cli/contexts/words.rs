//! `--docker KEY=VALUE,…`: the daemon of a context. Pure.

use crate::cli::context::socket_of;
use crate::flags::volumes::fields;
use anyhow::{Result, anyhow, bail};
use std::collections::BTreeMap;

/// Keys with their values.
pub type Pairs = BTreeMap<String, String>;

/// The daemon that is meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Daemon {
    /// The one at this host; empty: the usual one.
    At(String),
    /// That of another context.
    As(String),
}

/// A word of `--docker`, for clap.
pub fn pairs(text: &str) -> Result<Pairs, String> {
    // A single pair is taken as it is, commas or not, where it has one `=`.
    let all = match text.matches('=').count() {
        1 => vec![text.trim_matches('"').to_owned()],
        _ => fields(text).map_err(|e| e.to_string())?,
    };
    let pair = |word: String| match word.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("{word} must be formatted as key=value")),
    };
    match all.is_empty() {
        true => Err(format!("{text} must be formatted as key=value")),
        false => all.into_iter().map(pair).collect(),
    }
}

/// Which daemon they mean.
pub fn read(pairs: &Pairs) -> Result<Daemon> {
    const TLS: [&str; 4] = ["ca", "cert", "key", "skip-tls-verify"];
    let unknown = |key: &&String| !["from", "host"].contains(&key.as_str()) && !TLS.contains(&key.as_str());
    let wrong: Vec<String> =
        pairs.keys().filter(unknown).map(|key| format!("unrecognized config key: {key}")).collect();
    if !wrong.is_empty() {
        bail!(wrong.join("\n"));
    }
    if let Some(from) = pairs.get("from") {
        return Ok(Daemon::As(from.clone()));
    }
    for key in TLS {
        match (key, pairs.get(key).map(String::as_str)) {
            (_, None | Some("")) | ("skip-tls-verify", Some("0" | "f" | "F" | "false" | "FALSE" | "False")) => {}
            ("skip-tls-verify", Some(text)) if !["1", "t", "T", "true", "TRUE", "True"].contains(&text) => {
                bail!("skip-tls-verify: parsing {text:?}: invalid syntax")
            }
            _ => bail!(
                "{key} is not supported: dhow speaks to unix sockets only, which have no TLS. A context that `docker \
                 context create` made with it is kept as it is"
            ),
        }
    }
    let host = pairs.get("host").cloned().unwrap_or_default();
    if !host.is_empty() {
        socket_of(&host).map_err(|error| anyhow!("{error}"))?;
    }
    Ok(Daemon::At(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_of_words() {
        let of = |text: &str| match pairs(text).map_err(|e| anyhow!(e)).and_then(|pairs| read(&pairs)) {
            Ok(Daemon::At(host)) => format!("at {host}"),
            Ok(Daemon::As(name)) => format!("as {name}"),
            Err(error) => error.to_string(),
        };
        for (text, want) in [
            ("host=unix:///a", "at unix:///a"),
            ("host=unix:///a,skip-tls-verify=false", "at unix:///a"),
            ("host=", "at "),
            ("from=b", "as b"),
            ("", " must be formatted as key=value"),
            ("host", "host must be formatted as key=value"),
            ("host=unix:///a,b", "at unix:///a,b"),
            ("foo=1,host=/x", "unrecognized config key: foo"),
            ("host=/x,skip-tls-verify=maybe", "skip-tls-verify: parsing \"maybe\": invalid syntax"),
        ] {
            assert_eq!(of(text), want, "{text}");
        }
        for (text, part) in [
            ("host=/x,ca=/ca", "ca is not supported"),
            ("host=/x,skip-tls-verify=1", "skip-tls-verify is not supported"),
            ("host=tcp://x:1", "only unix:///PATH is built"),
        ] {
            assert!(of(text).contains(part), "{text}");
        }
    }
}
