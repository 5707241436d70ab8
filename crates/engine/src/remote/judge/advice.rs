//! What mends a failure at an endpoint: a table from step and cause to words.

use super::super::facts::{Facts, PlaceFacts};
use dhow_distribution::Cause;

/// Tags that are named.
const MAX_SHOWN: usize = 10;

/// What to do, the best first.
pub(super) fn of(facts: &Facts, at: &PlaceFacts, step: &str, cause: Option<&Cause>) -> Vec<String> {
    let place = &at.place;
    let host = format!("{}:{}", place.host, place.port);
    let one = |text: String| vec![text];
    let Some(cause) = cause else {
        return match (step, &place.proxy) {
            ("name", Some(proxy)) => one(format!("correct the daemon's proxy settings, which name {proxy}")),
            ("name", None) => vec![
                format!("look whether the name is right: `getent hosts {}` on the daemon's machine", place.host),
                "name servers are those of /etc/resolv.conf there".to_owned(),
            ],
            ("connection", Some(proxy)) => {
                one(format!("start the proxy {proxy}, or take it out of the daemon's settings"))
            }
            ("connection", None) if place.mirror => {
                one(format!("start the mirror at {host}, or take it out of the settings: each pull asks it first"))
            }
            ("connection", None) => vec![
                format!(
                    "look whether the registry runs and listens on port {}: `curl -v {}/`",
                    place.port, place.address
                ),
                "if it does, a firewall stands between".to_owned(),
            ],
            ("platform", _) => {
                one("choose one of those with --platform, or have the image built for this one".to_owned())
            }
            _ => Vec::new(),
        };
    };
    match cause {
        Cause::NotTls => vec![
            format!("if the network to it is trusted, add \"{host}\" to insecure-registries in daemon.json"),
            "better: give the registry a certificate".to_owned(),
        ],
        Cause::Certificate(why) => certificate(why, &host),
        Cause::Unreachable(_) | Cause::Broken(_) | Cause::Stalled(_) | Cause::Slow(_) => one(format!(
            "it takes connections and does not answer in time: its own log, or that of a proxy before it, says why; `curl -v {}/` shows the same",
            place.address
        )),
        Cause::NoCredentials => one(format!("log in: `{}`", login(&facts.registry))),
        Cause::Refused { status: 401, .. } | Cause::Token(_) if facts.credentials && !place.mirror => {
            one(format!("name or password is wrong, or may not pull this: `{}`", login(&facts.registry)))
        }
        Cause::Refused { status: 401 | 403, .. } if place.mirror => {
            one("a mirror is asked without credentials: it must give the image to everybody".to_owned())
        }
        Cause::Refused { status: 401 | 403, .. } => vec![
            format!("log in as somebody who may pull it: `{}`", login(&facts.registry)),
            "a registry also says this of repositories that do not exist: look whether the name is right".to_owned(),
        ],
        Cause::Refused { status: 404, .. } if step == "manifest" => missing(at),
        Cause::Refused { status: 404, .. } => one("the registry lost a part of the image: push it again".to_owned()),
        Cause::Refused { status: 429, .. } => {
            vec![
                "wait, or use a mirror".to_owned(),
                format!("who is logged in has a limit of his own: `{}`", login(&facts.registry)),
            ]
        }
        Cause::Refused { status: 500..=599, .. } => one(format!(
            "the registry itself failed: its log says why; a pull tries {} times before it gives up",
            facts.attempts
        )),
        Cause::WrongDigest { .. } | Cause::WrongSize { .. } => {
            one("the bytes are not those of the image: the registry's storage, or a proxy before it, is damaged"
                .to_owned())
        }
        Cause::Redirect(_) | Cause::Protocol(_) | Cause::Document(_) | Cause::TooLarge(_) => {
            one("that is no registry, or a broken one: look whether host, port and path are right".to_owned())
        }
        _ => Vec::new(),
    }
}

/// Whom to log in to.
fn login(registry: &str) -> String {
    if registry == "docker.io" { "dhow login".to_owned() } else { format!("dhow login {registry}") }
}

fn certificate(why: &str, host: &str) -> Vec<String> {
    let list = |text: &str| vec![text.to_owned()];
    if let Some((_, file)) = why.split_once("unknown authority: ") {
        return vec![
            format!("if it is your own authority, {file}"),
            format!("`openssl s_client -connect {host} -showcerts` shows who signed it"),
        ];
    }
    if why.contains("not for the name") {
        return list("use a name that stands in the certificate, or have one made for this name");
    }
    if why.contains("has expired") {
        return list("have the certificate renewed; if it is still good, this machine's clock is wrong");
    }
    if why.contains("not valid yet") {
        return list("set this machine's clock: `timedatectl`");
    }
    list("have the registry's TLS set up anew: the handshake is not one that can be trusted")
}

fn missing(at: &PlaceFacts) -> Vec<String> {
    match &at.tags {
        Some(tags) if !tags.is_empty() => {
            let shown: Vec<&str> = tags.iter().take(MAX_SHOWN).map(String::as_str).collect();
            let more = if tags.len() > MAX_SHOWN { " …" } else { "" };
            vec![format!("take a tag that is there: {}{more}", shown.join(", "))]
        }
        _ if at.place.mirror => vec!["nothing, if the registry has it: it is asked next".to_owned()],
        _ => vec![
            "look whether repository and tag are right: the registry has no such repository, or no tag in it"
                .to_owned(),
        ],
    }
}
