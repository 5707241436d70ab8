//! What is remembered about a container: one document in the database, whole at any time.
//!
//! Rule of change: fields are added with a default; a document of a newer version is refused, never guessed at.

use crate::config::{ContainerConfig, EndpointConfig, HostConfig};
use crate::core::Dirs;
use crate::plan::log_store::Store;
use crate::plan::mounts::{Mount, Source};
use crate::view::{StateView, WaitResult};
use crate::volumes;
use dhow_cgroup::GroupPath;
use dhow_net::{Endpoint, Mac};
use dhow_store::ContainerRow;
use dhow_types::{ContainerId, Context, Digest, Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The newest version this engine reads.
const VERSION: u32 = 1;

/// A container as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) root: Root,
    pub(crate) config: ContainerConfig,
    pub(crate) host: HostConfig,
    pub(crate) endpoints: BTreeMap<String, EndpointConfig>,
    pub(crate) hostname: String,
    pub(crate) mac: Option<Mac>,
    /// Mounts with their place on this machine (empty for tmpfs).
    pub(crate) mounts: Vec<(Mount, String)>,
    pub(crate) cgroup: Option<GroupPath>,
    pub(crate) state: StateView,
    /// On the bridge while it runs.
    #[serde(default)]
    pub(crate) endpoint: Option<Endpoint>,
    /// When the last start was sent to a shim.
    #[serde(default)]
    pub(crate) sent_at: Option<Timestamp>,
    /// The number of the last event before that.
    #[serde(default)]
    pub(crate) told_before: Option<u64>,
    #[serde(default)]
    pub(crate) marks: Marks,
    /// How its output is kept.
    #[serde(default)]
    pub(crate) log_store: Store,
    /// It was to be removed by force and could not be killed: it is removed when it ends.
    #[serde(default)]
    pub(crate) doomed: Option<Doomed>,
    /// The error in its state is why its last start or its own removal failed: waits are told.
    #[serde(default)]
    pub(crate) failed: bool,
}

/// How a container is removed at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Doomed {
    /// With its anonymous volumes.
    pub(crate) volumes: bool,
}

/// What was done to this run, or before it, that counts when it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Marks {
    /// Somebody sent it a signal since it was started by hand.
    pub(crate) by_hand: bool,
    /// Somebody wanted it to end.
    pub(crate) last: bool,
    /// It is to be started again when it ends, for this reason.
    pub(crate) asked: Option<String>,
    /// The wait before this run, 0 if it was started by hand.
    pub(crate) waited_ms: u64,
}

impl Marks {
    /// Somebody sends a signal; with `last` he wants the end. True if that is news.
    pub(crate) fn note(&mut self, last: bool) -> bool {
        let before = (self.by_hand, self.last);
        (self.by_hand, self.last) = (true, self.last | last);
        before != (self.by_hand, self.last)
    }
}

/// Where the root file system comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Root {
    /// An image's layers below a directory that holds `upper` and `work`.
    Image {
        /// Its id.
        id: Digest,
        /// Holds `upper` and `work`.
        data: PathBuf,
    },
    /// A directory of the machine below such a directory.
    Overlay {
        /// The directory.
        path: PathBuf,
        /// Holds `upper` and `work`.
        data: PathBuf,
    },
    /// A directory of the machine itself.
    Dir {
        /// The directory.
        path: PathBuf,
    },
}

impl Root {
    /// The image, if there is one.
    pub(crate) fn image(&self) -> Option<Digest> {
        match self {
            Self::Image { id, .. } => Some(*id),
            _ => None,
        }
    }
    /// Where writes go.
    pub(crate) fn data(&self) -> Option<&PathBuf> {
        match self {
            Self::Image { data, .. } | Self::Overlay { data, .. } => Some(data),
            Self::Dir { .. } => None,
        }
    }
}

/// What a new record is made of.
pub(crate) struct New {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    pub(crate) root: Root,
    pub(crate) config: ContainerConfig,
    pub(crate) host: HostConfig,
    pub(crate) endpoints: BTreeMap<String, EndpointConfig>,
    pub(crate) hostname: String,
    pub(crate) mac: Option<Mac>,
    pub(crate) mounts: Vec<(Mount, String)>,
    pub(crate) cgroup: Option<GroupPath>,
    pub(crate) log_store: Store,
}

impl Record {
    /// A container that was just made.
    pub(crate) fn new(new: New) -> Self {
        let New { id, name, root, config, host, mut endpoints, hostname, mac, mounts, cgroup, log_store } = new;
        // Clients name networks of which they have nothing to say.
        endpoints.retain(|_, endpoint| *endpoint != EndpointConfig::default());
        Self {
            version: VERSION,
            id,
            name,
            created: Timestamp::now(),
            root,
            config,
            host,
            endpoints,
            hostname,
            mac,
            mounts,
            cgroup,
            state: StateView::default(),
            endpoint: None,
            sent_at: None,
            told_before: None,
            marks: Marks::default(),
            log_store,
            doomed: None,
            failed: false,
        }
    }

    /// What a wait for its end gets.
    pub(crate) fn result(&self) -> WaitResult {
        let state = &self.state;
        WaitResult { code: i64::from(state.exit_code), error: self.failed.then(|| state.error.clone()) }
    }

    /// The row that holds it.
    pub(crate) fn row(&self) -> Result<ContainerRow> {
        Ok(ContainerRow {
            id: self.id.to_string(),
            name: self.name.clone(),
            image: self.root.image(),
            ephemeral: self.host.auto_remove,
            doc: self.encode()?,
        })
    }

    /// The document.
    pub(crate) fn encode(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::system(e.to_string())).context("encode a container's record")
    }

    /// Reads a document.
    pub(crate) fn decode(text: &str) -> Result<Self> {
        let record: Self = serde_json::from_str(text)
            .map_err(|e| Error::new(dhow_types::ErrorKind::DataLoss, e.to_string()))
            .context("read a container's record")?;
        if record.version > VERSION {
            return Err(Error::system(format!(
                "container {} was written by a newer version (record {} > {VERSION})",
                record.id, record.version
            )));
        }
        Ok(record)
    }

    /// Puts right what lies below the root, should that have been moved since this was written.
    pub(crate) fn at_home(mut self, dirs: &Dirs) -> Self {
        if let Root::Image { data, .. } | Root::Overlay { data, .. } = &mut self.root
            && data.ends_with(Path::new("containers").join(self.id.as_str()))
        {
            *data = dirs.container(&self.id);
        }
        for (mount, place) in &mut self.mounts {
            if let Source::Volume { name: Some(name), .. } = &mount.source
                && let Some(home) = volumes::place(dirs, name).to_str()
            {
                *place = home.to_owned();
            }
        }
        self
    }
}

#[cfg(test)]
impl Record {
    /// Any container.
    pub(crate) fn example() -> Self {
        Self::new(New {
            id: ContainerId::from_raw([7; 32]),
            name: "web".into(),
            root: Root::Image { id: Digest::of(b"x"), data: "/d".into() },
            config: ContainerConfig { tty: true, ..Default::default() },
            host: HostConfig { auto_remove: true, ..Default::default() },
            endpoints: BTreeMap::new(),
            hostname: "h".into(),
            mac: None,
            mounts: Vec::new(),
            cgroup: None,
            log_store: Store::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was() {
        let record = Record::example();
        assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
    }

    #[test]
    fn waits_are_told_of_failures_alone() {
        let mut record = Record::example();
        record.state.exit_code = 127;
        // What a shim says about its log is no failure of the wait.
        record.state.error = "some lines of the log could not be written".into();
        assert_eq!(record.result(), WaitResult { code: 127, error: None });
        record.failed = true;
        assert_eq!(record.result(), WaitResult { code: 127, error: Some(record.state.error.clone()) });
    }

    #[test]
    fn newer_and_damaged_documents_are_refused() {
        let text = Record::example().encode().unwrap();
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        assert!(Record::decode(&newer).unwrap_err().text().contains("newer version"));
        assert_eq!(Record::decode(&text[..50]).unwrap_err().kind(), dhow_types::ErrorKind::DataLoss);
    }

    #[test]
    fn fields_of_later_versions_have_defaults() {
        let record = Record::example();
        let mut value: serde_json::Value = serde_json::from_str(&record.encode().unwrap()).unwrap();
        let added = ["endpoint", "sent_at", "told_before", "marks", "failed"];
        value.as_object_mut().unwrap().retain(|k, _| !added.contains(&k.as_str()));
        value["state"].as_object_mut().unwrap().retain(|k, _| !k.starts_with("restart"));
        assert_eq!(Record::decode(&value.to_string()).unwrap(), record);
    }
}
