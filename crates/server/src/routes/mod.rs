//! One function per operation: reads the request, calls the engine, writes the answer. No decisions about
//! containers, and no fields of documents (see [`crate::convert`]).

pub(crate) mod archives;
pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod containers;
pub(crate) mod events;
pub(crate) mod execs;
pub(crate) mod images;
pub(crate) mod manifests;
pub(crate) mod networks;
pub(crate) mod prune;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod remote;
pub(crate) mod stats;
pub(crate) mod system;
pub(crate) mod transfers;

use crate::reply::{Hijack, Reply};
use dhow_api::{ApiVersion, Filters, stdcopy};
use dhow_engine::AttachTicket;
use dhow_types::{Error, Result};

/// Gives the connection to whom the ticket is for.
fn hijack(ticket: AttachTicket, version: ApiVersion) -> Reply {
    Reply::Hijack(Hijack {
        content_type: stream_type(ticket.tty, version),
        take: Box::new(move |connection, sent| {
            Box::pin(async move {
                if let Err(error) = ticket.hand_over(connection, sent).await {
                    tracing::debug!(%error, "an attached client was lost");
                }
            })
        }),
    })
}

/// The media type of a container's streams.
fn stream_type(tty: bool, version: ApiVersion) -> &'static str {
    match tty || version < ApiVersion::new(1, 42) {
        true => stdcopy::RAW,
        false => stdcopy::MULTIPLEXED,
    }
}

fn filters(call: &crate::api::Call) -> Result<Filters> {
    Filters::parse(call.query.get("filters").unwrap_or_default()).map_err(Error::invalid)
}

/// The size of a terminal, height first.
fn size(call: &crate::api::Call) -> Result<(u16, u16)> {
    let side = |name: &str| {
        call.query
            .number(name)?
            .ok_or_else(|| Error::invalid(format!("the parameter {name} is missing: want a number")))
    };
    Ok((side("h")?, side("w")?))
}
