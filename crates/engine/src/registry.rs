//! Which containers there are, by id, by name, and by the beginning of an id.

use crate::container::Container;
use dhow_types::{Cause, ContainerId, Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The index. Names are taken before anything is made, so that two requests can't both get one.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_id: BTreeMap<String, Arc<Container>>,
    names: HashMap<String, ContainerId>,
}

impl Registry {
    /// Takes a name for an id.
    pub(crate) fn reserve(&mut self, name: &str, id: &ContainerId) -> Result<()> {
        if let Some(holder) = self.names.get(name) {
            return Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to \
                 remove (or rename) that container to be able to reuse that name."
            ))
            .because(Cause::NameTaken));
        }
        self.names.insert(name.to_owned(), id.clone());
        Ok(())
    }
    /// True if a name is free.
    pub(crate) fn is_free(&self, name: &str) -> bool {
        !self.names.contains_key(name)
    }
    /// Gives a name back, if it is this id's.
    pub(crate) fn release(&mut self, name: &str, id: &ContainerId) {
        if self.names.get(name) == Some(id) {
            self.names.remove(name);
        }
    }
    /// Adds a container under a name that was reserved.
    pub(crate) fn insert(&mut self, container: Arc<Container>) {
        self.by_id.insert(container.id.to_string(), container);
    }
    /// Removes a container and its name.
    pub(crate) fn remove(&mut self, id: &ContainerId, name: &str) {
        self.by_id.remove(id.as_str());
        self.release(name, id);
    }
    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        self.by_id.values().cloned().collect()
    }
    /// Finds one: a whole id, then a name (a slash before it is allowed), then the beginning of an id.
    pub(crate) fn find(&self, text: &str) -> Result<Arc<Container>> {
        let missing = || Error::not_found(format!("No such container: {text}")).because(Cause::ContainerMissing);
        let name = text.strip_prefix('/').unwrap_or(text);
        if let Some(c) = self.by_id.get(name) {
            return Ok(c.clone());
        }
        if let Some(c) = self.names.get(name).and_then(|id| self.by_id.get(id.as_str())) {
            return Ok(c.clone());
        }
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let mut hits = self.by_id.range(name.to_owned()..).take_while(|(id, _)| id.starts_with(name));
        match (hits.next(), hits.next()) {
            (Some((_, c)), None) => Ok(c.clone()),
            (Some(_), Some(_)) => Err(Error::invalid(format!("multiple IDs found with provided prefix: {text}"))),
            (None, _) => Err(missing()),
        }
    }
}
