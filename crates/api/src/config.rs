//! What `POST /containers/create` takes and gives, without the host's part (see [`crate::host_config`]).

use crate::document::{Empty, document, is_zero};
use crate::{HostConfig, NetworkingConfig};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

document! {
    /// The part of a container's configuration that does not depend on the host.
    pub struct ContainerConfig {
        hostname: String,
        domainname: String,
        user: String,
        attach_stdin: bool,
        attach_stdout: bool,
        attach_stderr: bool,
        #[serde(skip_serializing_if = "is_zero")]
        exposed_ports: Option<BTreeMap<String, Empty>>,
        tty: bool,
        open_stdin: bool,
        stdin_once: bool,
        env: Option<Vec<String>>,
        cmd: Option<Words>,
        #[serde(skip_serializing_if = "is_zero")]
        healthcheck: Option<HealthConfig>,
        #[serde(skip_serializing_if = "is_zero")]
        args_escaped: bool,
        image: String,
        volumes: Option<BTreeMap<String, Empty>>,
        working_dir: String,
        entrypoint: Option<Words>,
        #[serde(skip_serializing_if = "is_zero")]
        network_disabled: bool,
        /// Removed from the swagger file in 1.44, still sent by older clients.
        #[serde(skip_serializing_if = "is_zero")]
        mac_address: String,
        #[serde(skip_serializing_if = "is_zero")]
        on_build: Option<Vec<String>>,
        labels: Option<BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "is_zero")]
        stop_signal: String,
        #[serde(skip_serializing_if = "is_zero")]
        stop_timeout: Option<i64>,
        #[serde(skip_serializing_if = "is_zero")]
        shell: Option<Words>,
    }

    /// How a container's health would be probed. Durations are in nanoseconds.
    pub struct HealthConfig {
        #[serde(skip_serializing_if = "is_zero")]
        test: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        interval: i64,
        #[serde(skip_serializing_if = "is_zero")]
        timeout: i64,
        #[serde(skip_serializing_if = "is_zero")]
        start_period: i64,
        #[serde(skip_serializing_if = "is_zero")]
        start_interval: i64,
        #[serde(skip_serializing_if = "is_zero")]
        retries: i64,
    }

    /// The body of `POST /containers/create`.
    pub struct ContainerCreateRequest {
        #[serde(flatten)]
        config: ContainerConfig,
        host_config: HostConfig,
        networking_config: NetworkingConfig,
    }

    /// The answer to `POST /containers/create`.
    pub struct ContainerCreateResponse {
        id: String,
        warnings: Vec<String>,
    }
}

/// A command in words. Clients may send one string, which is then the only word (Go: `strslice.StrSlice`).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Words(pub Vec<String>);

impl From<Vec<String>> for Words {
    fn from(words: Vec<String>) -> Self {
        Self(words)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a string or an array of strings")]
        enum Form {
            Many(Vec<String>),
            One(String),
        }
        Ok(Self(match Form::deserialize(d)? {
            Form::Many(words) => words,
            Form::One(word) => vec![word],
        }))
    }
}
