//! What happened, as `GET /events` tells it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One event (`EventMessage`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "fields are named and described by the swagger file")]
pub struct EventMessage {
    /// Until API 1.51, of containers and images: the action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Until API 1.51, of containers and images: whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Until API 1.51, of containers: the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: EventActor,
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// To whom it happened (`EventActor`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "fields are named and described by the swagger file")]
pub struct EventActor {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes", deserialize_with = "crate::document::null_is_default")]
    pub attributes: BTreeMap<String, String>,
}
