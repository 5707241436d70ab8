//! The steps of one endpoint, each in a line.

use super::super::facts::{Choosing, PlaceFacts};
use super::{Endpoint, State, Step, next_hop};
use std::time::Duration;

/// A step's name for people.
pub(super) fn title(step: &str) -> &'static str {
    match step {
        "name" => "its name is not known",
        "connection" => "nothing connects",
        "api" => "it does not answer as a registry",
        "login" => "it gives no access",
        "manifest" => "it does not give the image",
        "platform" => "it has nothing for the platform",
        _ => "its content can't be had",
    }
}

/// All that was done there.
pub(super) fn endpoint(at: &PlaceFacts) -> Endpoint {
    let kind = match (at.place.mirror, at.place.plain_twin) {
        (true, _) => "mirror",
        (false, true) => "registry without TLS",
        (false, false) => "registry",
    };
    let mut steps = Vec::new();
    let mut add = |step, state, seen: String, took: Duration| {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        steps.push(Step { step, state, seen, millis });
    };
    if at.spared {
        add("api", State::Ok, "not asked: it answered with TLS".to_owned(), Duration::ZERO);
    }
    if let Some(s) = &at.addresses {
        match &s.came {
            Ok(list) => {
                let shown: Vec<String> = list.iter().take(4).map(ToString::to_string).collect();
                let more = if list.len() > 4 { format!(" and {} more", list.len() - 4) } else { String::new() };
                add("name", State::Ok, format!("{} is {}{more}", next_hop(&at.place), shown.join(", ")), s.took);
            }
            Err(why) => add("name", State::Error, why.clone(), s.took),
        }
    }
    if let Some(s) = &at.connection {
        match &s.came {
            Ok(address) if at.place.proxy.is_some() => {
                add("connection", State::Ok, format!("to the proxy at {address}"), s.took);
            }
            Ok(address) => add("connection", State::Ok, format!("to {address}"), s.took),
            Err(why) => add("connection", State::Error, why.clone(), s.took),
        }
    }
    if let Some(s) = &at.ping {
        match &s.came {
            Ok(ping) => {
                let tls = match (at.place.https, at.place.verifies) {
                    (true, true) => "TLS, certificate holds; ",
                    (true, false) => "TLS, certificate not checked; ",
                    (false, _) => "without TLS; ",
                };
                let api = if ping.api.is_empty() { String::new() } else { format!(" ({})", ping.api) };
                let state = if ping.status < 500 { State::Ok } else { State::Warning };
                add("api", state, format!("{tls}/v2/ answers {}{api}", ping.status), s.took);
            }
            Err(cause) => add("api", State::Error, cause.to_string(), s.took),
        }
    }
    if let Some(s) = &at.proof {
        let from = at.ping.as_ref().and_then(|p| p.came.as_ref().ok()?.realm.clone());
        let what = match &from {
            Some(realm) => format!("a token of {realm}"),
            None => "a password with each request".to_owned(),
        };
        match &s.came {
            Ok(proven) if proven.shown => add("login", State::Ok, format!("{what}, with credentials"), s.took),
            Ok(_) => add("login", State::Ok, format!("{what}, for nobody in particular"), s.took),
            Err(cause) => add("login", State::Error, format!("{what}: {cause}"), s.took),
        }
    }
    if let Some(s) = &at.manifest {
        match &s.came {
            Ok(top) => {
                let kind = if top.media_type.contains("index") || top.media_type.contains("list") {
                    "index"
                } else {
                    "manifest"
                };
                add("manifest", State::Ok, format!("{kind} {} of {} bytes", top.digest, top.size), s.took);
            }
            Err(cause) => add("manifest", State::Error, cause.to_string(), s.took),
        }
    }
    if let Some(s) = &at.choice {
        match &s.came {
            Ok(chosen) => {
                let seen = match (&chosen.platform, chosen.alone) {
                    (_, true) => "the only one there is".to_owned(),
                    (Some(platform), _) => format!("{platform}, manifest {}", chosen.digest.short()),
                    (None, _) => format!("manifest {}", chosen.digest.short()),
                };
                add("platform", State::Ok, seen, s.took);
            }
            Err(Choosing::Nothing(words)) => add("platform", State::Error, words.clone(), s.took),
            Err(Choosing::Unread(cause)) => add("platform", State::Error, cause.to_string(), s.took),
        }
    }
    if !at.blobs.is_empty() {
        content(at, &mut add);
    }
    Endpoint { address: at.place.address.clone(), kind, steps }
}

/// Configuration and layers in one line: each by itself would hide the rest.
fn content(at: &PlaceFacts, add: &mut impl FnMut(&'static str, State, String, Duration)) {
    let took = at.blobs.iter().map(|b| b.reached.took).sum();
    let failed: Vec<_> = at.blobs.iter().filter(|b| b.reached.came.is_err()).collect();
    let bytes: u64 = at.blobs.iter().map(|b| b.descriptor.size).sum();
    let layers = at.blobs.iter().filter(|b| !b.config).count();
    let mut elsewhere: Vec<&str> =
        at.blobs.iter().filter_map(|b| b.reached.came.as_ref().ok()?.elsewhere.as_deref()).collect();
    elsewhere.sort_unstable();
    elsewhere.dedup();
    let from = if elsewhere.is_empty() { String::new() } else { format!(", from {}", elsewhere.join(", ")) };
    match failed.first() {
        None => {
            let plural = if layers == 1 { "layer" } else { "layers" };
            let slowest = at.blobs.iter().map(|b| b.reached.took).max().unwrap_or_default();
            let seen = format!(
                "configuration and {layers} {plural}, {bytes} bytes: the first byte of each came{from}, the slowest after {} ms",
                slowest.as_millis()
            );
            add("content", State::Ok, seen, took);
        }
        Some(first) => {
            let what = if first.config { "configuration" } else { "layer" };
            let why = first.reached.came.as_ref().err().map(ToString::to_string).unwrap_or_default();
            let seen = format!("{what} {}: {why}", first.descriptor.digest);
            let more = if failed.len() > 1 { format!(" (and {} more)", failed.len() - 1) } else { String::new() };
            add("content", State::Error, format!("{seen}{more}"), took);
        }
    }
}
