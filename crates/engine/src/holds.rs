//! Images and volumes that a container in the making counts on, before it is in the index of containers.
//!
//! Who removes what nobody uses looks here, too: otherwise it could take away what a `create` has just found.

use dhow_types::Digest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All holds of one engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    images: HashMap<Digest, usize>,
    volumes: HashMap<String, usize>,
}

/// What one `create` holds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    holds: Holds,
    images: Vec<Digest>,
    volumes: Vec<String>,
}

impl Holds {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// A holder of nothing yet.
    pub(crate) fn begin(&self) -> Held {
        Held { holds: self.clone(), images: Vec::new(), volumes: Vec::new() }
    }
    /// Whether somebody counts on this image.
    pub(crate) fn image(&self, id: &Digest) -> bool {
        self.counts().images.contains_key(id)
    }
    /// Whether somebody counts on this volume.
    pub(crate) fn volume(&self, name: &str) -> bool {
        self.counts().volumes.contains_key(name)
    }
}

impl Held {
    /// Holds an image.
    pub(crate) fn image(&mut self, id: Digest) {
        *self.holds.counts().images.entry(id).or_default() += 1;
        self.images.push(id);
    }
    /// Holds a volume.
    pub(crate) fn volume(&mut self, name: &str) {
        *self.holds.counts().volumes.entry(name.to_owned()).or_default() += 1;
        self.volumes.push(name.to_owned());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.holds.counts();
        for id in &self.images {
            if let Some(n) = counts.images.get_mut(id) {
                *n -= 1;
            }
        }
        for name in &self.volumes {
            if let Some(n) = counts.volumes.get_mut(name) {
                *n -= 1;
            }
        }
        counts.images.retain(|_, n| *n > 0);
        counts.volumes.retain(|_, n| *n > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_until_the_last_one_lets_go() {
        let holds = Holds::default();
        let id = Digest::of(b"x");
        let (mut a, mut b) = (holds.begin(), holds.begin());
        a.image(id);
        b.image(id);
        a.volume("v");
        assert!(holds.image(&id) && holds.volume("v") && !holds.volume("w"));
        drop(a);
        assert!(holds.image(&id) && !holds.volume("v"));
        drop(b);
        assert!(!holds.image(&id) && holds.counts().images.is_empty());
    }
}
