//! What is said of whom: the attributes that Docker gives to each kind of event.

use super::Events;
use crate::core::Core;
use crate::plan::modes;
use crate::plan::mounts::Source;
use crate::record::Record;
use std::collections::BTreeMap;

fn map(attributes: &[(&str, &str)]) -> BTreeMap<String, String> {
    attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Events {
    /// Of a container: its labels, its image and its name come with every one.
    pub(crate) fn container(&self, record: &Record, action: impl Into<String>, more: &[(&str, &str)]) {
        let mut attributes = record.config.labels.clone();
        attributes.insert("image".into(), record.config.image.clone());
        attributes.insert("name".into(), record.name.clone());
        attributes.extend(map(more));
        self.tell("container", action, record.id.as_str(), attributes);
    }

    /// Of an image, by its id.
    pub(crate) fn image(&self, action: &str, id: &str, name: &str) {
        self.tell("image", action, id, map(&[("name", name)]));
    }

    /// Of a volume.
    pub(crate) fn volume(&self, action: &str, name: &str, more: &[(&str, &str)]) {
        let mut attributes = map(more);
        attributes.insert("driver".into(), "local".into());
        self.tell("volume", action, name, attributes);
    }

    /// A prune of one kind, with the bytes that it gave back.
    pub(crate) fn pruned(&self, kind: &str, bytes: u64) {
        self.tell(kind, "prune", "", map(&[("reclaimed", &bytes.to_string())]));
    }
}

/// That a run began, and what it took.
pub(crate) fn begun(core: &Core, record: &Record) {
    takes(core, record, true);
    core.events.container(record, "start", &[]);
}

/// A run that begins takes its network and its volumes, then starts; one that is over (`begins` false) gives them back.
pub(crate) fn takes(core: &Core, record: &Record, begins: bool) {
    let id = record.id.as_str();
    let network = match modes::network(&record.host.network_mode) {
        _ if record.config.network_disabled => None,
        Ok(modes::Network::Bridge) => Some(("bridge", "bridge")),
        Ok(modes::Network::Host) => Some(("host", "host")),
        Ok(modes::Network::None) => Some(("none", "null")),
        Ok(modes::Network::Container(_)) | Err(_) => None,
    };
    if let Some((name, driver)) = network {
        let attributes = map(&[("container", id), ("name", name), ("type", driver)]);
        let action = if begins { "connect" } else { "disconnect" };
        core.events.tell("network", action, &crate::shown::network_id(core, name), attributes);
    }
    for (mount, _) in &record.mounts {
        let Source::Volume { name: Some(name), .. } = &mount.source else { continue };
        match begins {
            true => core.events.volume(
                "mount",
                name,
                &[
                    ("container", id),
                    ("destination", mount.destination.as_str()),
                    ("propagation", ""),
                    ("read/write", if mount.rw { "true" } else { "false" }),
                ],
            ),
            false => core.events.volume("unmount", name, &[("container", id)]),
        }
    }
}
