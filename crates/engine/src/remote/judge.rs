//! What was seen on the way to an image, judged: whether a pull would work, which endpoint fails at which step, and what
//! mends it. Pure.

mod advice;
mod steps;
#[cfg(test)]
mod tests;

use super::facts::{Choosing, Facts, PlaceFacts};
use dhow_distribution::{Cause, Place};
use dhow_types::Digest;
use std::collections::BTreeSet;

/// A clock that is further off than this makes certificates and tokens fail.
const MOST_SKEW: i64 = 120;

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// It works, but badly or not for long.
    Warning,
    /// It does not work.
    Error,
}

impl State {
    /// As documents have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The judgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The image.
    pub name: String,
    /// The platform that it is wanted for.
    pub platform: String,
    /// Whether a pull would bring it.
    pub pullable: bool,
    /// What a pull would bring: what the name means, and the manifest for the platform.
    pub found: Option<(Digest, Digest)>,
    /// How much of it there is, packed.
    pub bytes: u64,
    /// How many layers.
    pub layers: usize,
    /// Each endpoint, in the order of a pull.
    pub endpoints: Vec<Endpoint>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Its root.
    pub address: String,
    /// `registry`, `mirror`, `registry without TLS`.
    pub kind: &'static str,
    /// The steps that were gone.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// `name`, `connection`, `api`, `login`, `manifest`, `platform`, `content`.
    pub step: &'static str,
    /// How it went.
    pub state: State,
    /// What was seen.
    pub seen: String,
    /// How long it took.
    pub millis: u64,
}

/// One thing to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// How bad it is.
    pub state: State,
    /// The endpoint, or the image.
    pub about: String,
    /// What it is.
    pub what: String,
    /// What to do, the best first.
    pub advice: Vec<String>,
}

/// Judges.
pub fn report(facts: &Facts) -> Report {
    let mut report = Report {
        name: facts.name.clone(),
        platform: facts.platform.clone(),
        pullable: false,
        found: None,
        bytes: 0,
        layers: 0,
        endpoints: Vec::new(),
        findings: Vec::new(),
    };
    let places = match &facts.places {
        Ok(places) => places,
        Err(cause) => {
            report.findings.push(Finding {
                state: State::Error,
                about: facts.registry.clone(),
                what: cause.to_string(),
                advice: vec!["mend that file: it is read anew with each pull".to_owned()],
            });
            return report;
        }
    };
    found(&mut report, places);
    for (at, facts_of) in places.iter().enumerate() {
        report.endpoints.push(steps::endpoint(facts_of));
        if !facts_of.spared {
            let twin = places.get(at + 1).filter(|next| next.place.plain_twin);
            problem(&mut report, facts, facts_of, twin);
            remarks(&mut report, facts, facts_of);
        }
    }
    stale(&mut report, places);
    if places.iter().all(|p| !p.place.resolves) {
        report.findings.push(Finding {
            state: State::Error,
            about: facts.registry.clone(),
            what: "nobody is asked what a tag stands for: no host of hosts.toml has the capability resolve".to_owned(),
            advice: vec!["add \"resolve\" to the capabilities of one, or name the image by its digest".to_owned()],
        });
    }
    report.findings.sort_by_key(|f| std::cmp::Reverse(f.state));
    report
}

/// What a pull would bring, and whether it could.
fn found(report: &mut Report, places: &[PlaceFacts]) {
    // Who answers first says what the name means.
    let first = places.iter().find_map(|p| p.manifest.as_ref()?.came.as_ref().ok());
    let Some(top) = first else { return };
    let same =
        |p: &&PlaceFacts| p.manifest.as_ref().is_some_and(|m| m.came.as_ref().is_ok_and(|m| m.digest == top.digest));
    let chosen = places.iter().filter(same).find_map(|p| p.choice.as_ref()?.came.as_ref().ok());
    let Some(chosen) = chosen else { return };
    report.found = Some((top.digest, chosen.digest));
    // Content may come from everybody who has it.
    let of_it =
        |p: &&PlaceFacts| p.choice.as_ref().is_some_and(|c| c.came.as_ref().is_ok_and(|c| c.digest == chosen.digest));
    let mut wanted = BTreeSet::new();
    let mut there = BTreeSet::new();
    for blob in places.iter().filter(of_it).flat_map(|p| &p.blobs) {
        if wanted.insert(blob.descriptor.digest) {
            report.bytes += blob.descriptor.size;
            report.layers += usize::from(!blob.config);
        }
        if blob.reached.came.is_ok() {
            there.insert(blob.descriptor.digest);
        }
    }
    report.pullable = !wanted.is_empty() && wanted == there;
}

/// The failure at an endpoint, if there is one.
fn problem(report: &mut Report, facts: &Facts, at: &PlaceFacts, twin: Option<&PlaceFacts>) {
    let Some((step, what, cause)) = failure(at) else { return };
    let pullable = report.pullable;
    let state = match (&cause, twin) {
        // Without TLS it answered, and that is allowed.
        (Some(Cause::NotTls), Some(twin)) if twin.answered() => State::Note,
        // Without TLS the same is said again.
        (Some(Cause::Unreachable(_)) | None, Some(twin)) if !twin.spared && failure(twin).is_some() => return,
        _ if pullable => State::Warning,
        _ => State::Error,
    };
    let advice = match state {
        State::Note => vec![format!(
            "nothing, if the network to {} is trusted; else give it TLS and take it off insecure-registries",
            at.place.host
        )],
        _ => advice::of(facts, at, step, cause.as_ref()),
    };
    let what = match state {
        State::Note => "it speaks without TLS, which is allowed for it".to_owned(),
        _ => format!("{}: {what}", steps::title(step)),
    };
    report.findings.push(Finding { state, about: at.place.address.clone(), what, advice });
}

/// The first step that failed: its name, what was said, and the cause if it has one.
fn failure(at: &PlaceFacts) -> Option<(&'static str, String, Option<Cause>)> {
    let of = |step, cause: &Cause| Some((step, cause.to_string(), Some(cause.clone())));
    if let Some(Err(why)) = at.addresses.as_ref().map(|s| &s.came) {
        return Some(("name", format!("{}: {why}", next_hop(&at.place)), None));
    }
    if let Some(Err(why)) = at.connection.as_ref().map(|s| &s.came) {
        return Some(("connection", why.clone(), None));
    }
    if let Some(Err(cause)) = at.ping.as_ref().map(|s| &s.came) {
        return of("api", cause);
    }
    if let Some(Err(cause)) = at.proof.as_ref().map(|s| &s.came) {
        return of("login", cause);
    }
    if let Some(Err(cause)) = at.manifest.as_ref().map(|s| &s.came) {
        return of("manifest", cause);
    }
    match at.choice.as_ref().map(|s| &s.came) {
        Some(Err(Choosing::Nothing(words))) => return Some(("platform", words.clone(), None)),
        Some(Err(Choosing::Unread(cause))) => return of("platform", cause),
        _ => {}
    }
    let blob = at.blobs.iter().find(|b| b.reached.came.is_err())?;
    let cause = blob.reached.came.as_ref().err()?;
    let what = if blob.config { "configuration" } else { "layer" };
    Some(("content", format!("{what} {}: {cause}", blob.descriptor.digest.short()), Some(cause.clone())))
}

/// Who is connected to: the host, or its proxy.
fn next_hop(place: &Place) -> String {
    match &place.proxy {
        Some(proxy) => format!("proxy {proxy}"),
        None => place.host.clone(),
    }
}

/// What is good to know of an endpoint that answered.
fn remarks(report: &mut Report, facts: &Facts, at: &PlaceFacts) {
    let mut add = |state, what: String, advice: &str| {
        let advice = if advice.is_empty() { Vec::new() } else { vec![advice.to_owned()] };
        report.findings.push(Finding { state, about: at.place.address.clone(), what, advice });
    };
    let date = at.ping.as_ref().and_then(|p| p.came.as_ref().ok()?.date);
    if let Some(skew) = date.map(|date| date - facts.now).filter(|skew| skew.abs() > MOST_SKEW) {
        let (side, away) = if skew > 0 { ("behind", skew) } else { ("ahead of", -skew) };
        add(
            State::Warning,
            format!("this machine's clock is {away} seconds {side} the server's: certificates and tokens may fail"),
            "set the clock: `timedatectl set-ntp true`",
        );
    }
    if at.place.https && !at.place.verifies && at.answered() {
        add(State::Note, "its certificate is not checked: it is an insecure registry here".to_owned(), "");
    }
    if let Some(limit) = at.manifest.as_ref().and_then(|m| m.came.as_ref().ok()?.limit) {
        let window = limit.window.map(|w| format!(" in {}", dhow_types::duration::go_text(w))).unwrap_or_default();
        let what = format!("{} of {} pulls{window} are left", limit.remaining, limit.limit);
        match limit.remaining {
            0 => add(State::Warning, what, "log in, or wait: each pull is refused until the limit is raised"),
            n if n < limit.limit / 10 => add(State::Note, what, "log in, or use a mirror"),
            _ => {}
        }
    }
    if at.proof.as_ref().is_some_and(|p| p.came.as_ref().is_ok_and(|p| p.withheld.is_some())) {
        let realm = at.proof.as_ref().and_then(|p| p.came.as_ref().ok()?.withheld.clone()).unwrap_or_default();
        add(
            State::Note,
            format!("it wants the password to be sent to {realm}, which is another site: it was asked without one"),
            "name that server in daemon.json if it is to be trusted with the password",
        );
    }
    let whole =
        at.blobs.iter().filter(|b| b.descriptor.size > 0 && b.reached.came.as_ref().is_ok_and(|r| !r.resumable));
    if whole.count() > 0 {
        add(State::Note, "it gives no parts of a layer: one that breaks off begins anew".to_owned(), "");
    }
}

/// A mirror that has another image under the tag than the registry.
fn stale(report: &mut Report, places: &[PlaceFacts]) {
    let top = |p: &PlaceFacts| Some(p.manifest.as_ref()?.came.as_ref().ok()?.digest);
    let Some(own) = places.iter().filter(|p| !p.place.mirror).find_map(top) else { return };
    for mirror in places.iter().filter(|p| p.place.mirror) {
        if let Some(digest) = top(mirror).filter(|digest| *digest != own) {
            report.findings.push(Finding {
                state: State::Warning,
                about: mirror.place.address.clone(),
                what: format!(
                    "it has another image under this tag ({}) than the registry ({}), and a pull asks it first",
                    digest.short(),
                    own.short()
                ),
                advice: vec![format!("name the image by its digest, {own}, or wait until the mirror has it")],
            });
        }
    }
}
