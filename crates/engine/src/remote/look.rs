//! Goes the way of a pull at each endpoint, each step once, and writes down what it meets. A step that could only fail
//! because of the one before it is not gone.

use super::facts::{Blob, Choosing, Chosen, Facts, PlaceFacts, Step, Top};
use super::{RemoteRequest, wanted};
use crate::core::Core;
use crate::pull::choose::{candidates, check_kind, is_document, nothing_for};
use dhow_distribution::{Cause, Fetched, Repository, Wanted};
use dhow_types::image::{Document, Manifest};
use dhow_types::{Error, Platform};
use std::sync::Arc;
use std::time::Instant;

/// How deep indexes may lie in one another.
const MAX_DEPTH: usize = 3;
/// Tags that are remembered to be named.
const MAX_NAMED: usize = 100;

/// Goes it.
pub(super) async fn all(core: &Arc<Core>, request: RemoteRequest) -> Facts {
    let target = request.platform.clone().unwrap_or_else(Platform::best_host);
    let mut facts = Facts {
        name: request.reference.clone().or_latest().familiar(),
        registry: request.reference.domain().to_owned(),
        platform: request.platform.clone().unwrap_or_else(Platform::host).to_string(),
        credentials: !request.credentials.is_empty(),
        now: jiff::Timestamp::now().as_second(),
        attempts: core.settings.registries.attempts(),
        places: Ok(Vec::new()),
    };
    let repository = match request.repository(core).await {
        Ok(repository) => repository,
        Err(failure) => {
            facts.places = Err(failure.cause);
            return facts;
        }
    };
    let wanted = wanted(&request.reference);
    let mut seen: Vec<PlaceFacts> = Vec::new();
    for place in repository.places() {
        let mut at = PlaceFacts::new(place);
        at.spared = at.place.plain_twin && seen.last().is_some_and(PlaceFacts::answered);
        if !at.spared {
            walk(&repository, &mut at, &wanted, request.platform.as_ref(), &target).await;
        }
        seen.push(at);
    }
    facts.places = Ok(seen);
    facts
}

/// Measures a step.
async fn timed<T, E>(step: impl Future<Output = Result<T, E>>) -> Step<T, E> {
    let began = Instant::now();
    let came = step.await;
    Step { took: began.elapsed(), came }
}

async fn walk(
    repository: &Repository,
    at: &mut PlaceFacts,
    wanted: &Wanted,
    asked: Option<&Platform>,
    target: &Platform,
) {
    let addresses = at.addresses.insert(timed(repository.look_up(&at.place)).await);
    let Ok(addresses) = &addresses.came else { return };
    let connection = at.connection.insert(timed(repository.dial(&at.place, addresses)).await);
    if connection.came.is_err() {
        return;
    }
    let ping = at.ping.insert(timed(repository.ping(&at.place)).await);
    let Ok(ping) = &ping.came else { return };
    if ping.status == 401 && !ping.schemes.is_empty() {
        let proof = at.proof.insert(timed(repository.prove(&at.place, ping)).await);
        if proof.came.is_err() {
            return;
        }
    }
    let by_tag = matches!(wanted, Wanted::Tag(_));
    if by_tag && !at.place.resolves || !by_tag && !at.place.pulls {
        return;
    }
    let given = timed(repository.manifest_at(&at.place, wanted)).await;
    let (took, given) = (given.took, given.came);
    let top = given.as_ref().map_err(Clone::clone).map(|given| Top {
        digest: given.fetched.digest,
        media_type: given.fetched.media_type.clone(),
        size: given.fetched.bytes.len() as u64,
        limit: given.limit,
    });
    at.manifest = Some(Step { took, came: top });
    let fetched = match given {
        Ok(given) => given.fetched,
        Err(Cause::Refused { status: 404, .. }) if by_tag && !at.place.mirror => {
            // What there is says most about what is not.
            let tags = repository.tags().await.ok();
            at.tags = tags.map(|tags| tags.into_iter().rev().take(MAX_NAMED).collect());
            return;
        }
        Err(_) => return,
    };
    let chosen = timed(choose(repository, at, fetched, asked, target, 0)).await;
    let (took, chosen) = (chosen.took, chosen.came);
    let manifest = match chosen {
        Ok((manifest, chosen)) => {
            at.choice = Some(Step { took, came: Ok(chosen) });
            manifest
        }
        Err(why) => {
            at.choice = Some(Step { took, came: Err(why) });
            return;
        }
    };
    if !at.place.pulls {
        return;
    }
    let all = std::iter::once((true, manifest.config)).chain(manifest.layers.into_iter().map(|layer| (false, layer)));
    for (config, descriptor) in all {
        let reached = timed(repository.first_byte(&at.place, &descriptor)).await;
        let lost = matches!(reached.came, Err(Cause::Unreachable(_) | Cause::Stalled(_) | Cause::Broken(_)));
        at.blobs.push(Blob { config, descriptor, reached });
        if lost {
            // Each further one would be waited for as long.
            return;
        }
    }
}

/// The manifest for the platform, as a pull chooses it, from this place alone.
async fn choose(
    repository: &Repository,
    at: &PlaceFacts,
    fetched: Fetched,
    asked: Option<&Platform>,
    target: &Platform,
    depth: usize,
) -> Result<(Manifest, Chosen), Choosing> {
    let index = match fetched.document {
        Document::Manifest(manifest) => {
            check_kind(&manifest).map_err(|e| Choosing::Unread(Cause::Document(e)))?;
            let chosen = Chosen { digest: fetched.digest, platform: None, alone: depth == 0 };
            return Ok((*manifest, chosen));
        }
        Document::Index(index) => index,
    };
    if depth == MAX_DEPTH {
        let deep = Error::invalid(format!("indexes lie in one another more than {MAX_DEPTH} deep"));
        return Err(Choosing::Unread(Cause::Document(deep)));
    }
    for descriptor in candidates(&index, target).into_iter().filter(|d| is_document(d)) {
        let given = repository.manifest_at(&at.place, &Wanted::Described(descriptor.clone())).await;
        let fetched = given.map_err(Choosing::Unread)?.fetched;
        let nested = matches!(fetched.document, Document::Index(_));
        match Box::pin(choose(repository, at, fetched, asked, target, depth + 1)).await {
            // An index in this one has nothing: the next may.
            Err(Choosing::Nothing(_)) if nested => {}
            Ok((manifest, mut chosen)) => {
                let said = descriptor.platform.as_ref();
                chosen.platform =
                    chosen.platform.or(said.map(|p| Platform::new(&p.os, &p.architecture, &p.variant).to_string()));
                return Ok((manifest, chosen));
            }
            failed => return failed,
        }
    }
    Err(Choosing::Nothing(nothing_for(&index, asked)))
}
