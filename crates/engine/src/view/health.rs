//! What is known about a container's health: plain data, stored with its record.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the checks of a container say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// None has succeeded yet, and not enough have failed.
    #[default]
    Starting,
    /// The last one succeeded, or too few have failed since.
    Healthy,
    /// Too many failed one after the other, or nothing is checked because it does not run.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// As it stands in the list of containers.
    pub fn listed(self) -> &'static str {
        match self {
            Self::Starting => "health: starting",
            other => other.as_str(),
        }
    }
}

/// The health of a container that is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthView {
    /// What the checks say.
    pub status: HealthStatus,
    /// Failures since the last success.
    pub failing_streak: u32,
    /// The last checks, the oldest first. Shared, because views and records are copied often.
    #[serde(with = "shared")]
    pub log: Vec<Arc<Probe>>,
    /// Restarts for its sake since it was healthy, or was started by hand.
    pub restarts: u32,
}

/// One check that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When it began.
    pub start: Timestamp,
    /// When it was over.
    pub end: Timestamp,
    /// The program's exit code; -1 if it could not be started or took too long.
    pub exit_code: i32,
    /// What it wrote, or why it failed.
    pub output: Box<str>,
}

mod shared {
    use super::Probe;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::sync::Arc;

    pub(super) fn serialize<S: Serializer>(log: &[Arc<Probe>], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(log.iter().map(|probe| &**probe))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Arc<Probe>>, D::Error> {
        Ok(Vec::<Probe>::deserialize(d)?.into_iter().map(Arc::new).collect())
    }
}
