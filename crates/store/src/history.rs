//! How an image was made: the steps of its configuration beside its layers, and which image stands upon which.
//!
//! Pure rules over configurations; nothing here reads a layer.

use crate::images::{Image, ImageRecord};
use crate::{Store, images};
use dhow_types::{Digest, Result};
use std::collections::{HashMap, HashSet};

/// A step in the making of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Its number, the lowest being 1.
    pub number: usize,
    /// When, RFC 3339.
    pub created: Option<String>,
    /// By which command; empty if the configuration does not say it.
    pub created_by: String,
    /// A note.
    pub comment: String,
    /// The index of the layer it made, lowest first; none if it made none.
    pub layer: Option<usize>,
    /// Bytes of file content in that layer.
    pub size: u64,
}

impl Image {
    /// The steps, lowest first. Layers that no step speaks for get one without words, so that every layer has one
    /// and the sizes add up; steps beyond the last layer have none.
    pub fn steps(&self) -> Vec<Step> {
        let mut layers = self.layer_sizes.iter().copied().enumerate();
        let mut steps: Vec<Step> = Vec::new();
        for entry in &self.config.history {
            let layer = if entry.empty_layer { None } else { layers.next() };
            steps.push(Step {
                number: steps.len() + 1,
                created: entry.created.clone(),
                created_by: entry.created_by.clone(),
                comment: entry.comment.clone(),
                layer: layer.map(|l| l.0),
                size: layer.map_or(0, |l| l.1),
            });
        }
        for (layer, size) in layers {
            steps.push(Step { number: steps.len() + 1, layer: Some(layer), size, ..Step::default() });
        }
        steps
    }

    /// Whether this image was made from that one: all of its layers are the lowest here, and there are more, or the
    /// same with more steps.
    pub fn stands_on(&self, base: &Image) -> bool {
        if self.id == base.id || !self.layers.starts_with(&base.layers) {
            return false;
        }
        let (own, theirs) = (&self.config.history, &base.config.history);
        self.layers.len() > base.layers.len() || (own.len() > theirs.len() && own.starts_with(theirs))
    }
}

/// An image's place among the others.
#[derive(Clone, Debug)]
pub struct TreeNode {
    /// The image.
    pub record: ImageRecord,
    /// The image it stands on directly.
    pub base: Option<Digest>,
    /// Bytes of file content in layers that no other image has.
    pub own: u64,
    /// Bytes of file content in layers that another image has, too.
    pub shared: u64,
}

impl Store {
    /// All images, each with the one it stands on. An image without layers stands under nothing.
    pub fn image_tree(&self) -> Result<Vec<TreeNode>> {
        Ok(tree(self.images()?))
    }

    /// The images that `image` was made from as far as they are here, lowest first, each with the number of the step
    /// that it ends with.
    pub fn bases(&self, image: &Image) -> Result<Vec<(usize, ImageRecord)>> {
        let mut bases = Vec::new();
        let mut parent = self.image_rows_parent(&image.id)?;
        let mut seen = HashSet::from([image.id]);
        // A chain of parents is as long as an image has layers and steps; a damaged one may be a ring.
        while let Some(id) = parent.filter(|id| seen.insert(*id)) {
            let Ok(record) = self.resolve(&id.to_string()) else { break };
            parent = record.parent;
            let steps = record.image.steps().len();
            if steps > 0 && steps < image.steps().len() {
                bases.insert(0, (steps, record));
            }
        }
        Ok(bases)
    }

    fn image_rows_parent(&self, id: &Digest) -> Result<Option<Digest>> {
        let row = self.inner.db.image_rows(Some(id))?.pop();
        row.map(|row| row.parent).ok_or_else(|| images::no_such_image(&id.to_string()))
    }
}

fn tree(records: Vec<ImageRecord>) -> Vec<TreeNode> {
    let mut users: HashMap<Digest, usize> = HashMap::new();
    for record in &records {
        let layers: HashSet<&Digest> = record.image.layers.iter().collect();
        layers.into_iter().for_each(|layer| *users.entry(*layer).or_default() += 1);
    }
    let base = |record: &ImageRecord| {
        let below = records.iter().filter(|b| !b.image.layers.is_empty() && record.image.stands_on(&b.image));
        // The nearest; of equals the one that was recorded as its parent, else the oldest.
        below
            .max_by_key(|b| {
                let near = (b.image.layers.len(), b.image.config.history.len());
                (near, record.parent == Some(b.id), std::cmp::Reverse((b.created_unix, b.id)))
            })
            .map(|b| b.id)
    };
    let bases: Vec<Option<Digest>> = records.iter().map(base).collect();
    let mut nodes = Vec::with_capacity(records.len());
    for (record, base) in records.into_iter().zip(bases) {
        let (mut own, mut shared) = (0, 0);
        let mut counted = HashSet::new();
        for (layer, size) in record.image.layers.iter().zip(&record.image.layer_sizes) {
            if counted.insert(*layer) {
                let alone = users.get(layer).is_none_or(|n| *n < 2);
                *(if alone { &mut own } else { &mut shared }) += size;
            }
        }
        nodes.push(TreeNode { record, base, own, shared });
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::ImageConfig;
    use dhow_types::image::History;
    use std::sync::Arc;

    fn image(name: &str, layers: &str, history: &str) -> Image {
        let history = history
            .split_whitespace()
            .map(|word| History {
                created_by: word.trim_start_matches('-').to_owned(),
                empty_layer: word.starts_with('-'),
                ..History::default()
            })
            .collect();
        let layers: Vec<Digest> = layers.split_whitespace().map(|l| Digest::of(l.as_bytes())).collect();
        let sizes: Vec<u64> = (0..layers.len()).map(|i| 10u64.pow(i as u32)).collect();
        Image {
            id: Digest::of(name.as_bytes()),
            config: ImageConfig { history, ..ImageConfig::default() },
            raw: Vec::new(),
            layers,
            size: sizes.iter().sum(),
            layer_sizes: sizes,
            layer_dirs: Vec::new(),
        }
    }

    fn record(image: Image) -> ImageRecord {
        ImageRecord {
            id: image.id,
            references: Vec::new(),
            digests: Vec::new(),
            manifest: None,
            parent: None,
            created: None,
            created_unix: 0,
            size: image.size,
            loaded_unix: 0,
            last_used_unix: 0,
            image: Arc::new(image),
            damaged: None,
        }
    }

    #[test]
    fn steps_find_their_layers() {
        let shown = |layers, history| {
            let steps = image("x", layers, history).steps();
            steps.iter().map(|s| format!("{}{}:{:?}/{}", s.number, s.created_by, s.layer, s.size)).collect::<Vec<_>>()
        };
        assert_eq!(shown("a b", "from -env run"), ["1from:Some(0)/1", "2env:None/0", "3run:Some(1)/10"]);
        assert_eq!(shown("a b", ""), ["1:Some(0)/1", "2:Some(1)/10"]);
        assert_eq!(shown("a b", "from"), ["1from:Some(0)/1", "2:Some(1)/10"]);
        assert_eq!(shown("a", "from run run"), ["1from:Some(0)/1", "2run:None/0", "3run:None/0"]);
        assert_eq!(shown("", "-cmd"), ["1cmd:None/0"]);
    }

    #[test]
    fn bases_and_sizes() {
        let images = [
            image("base", "a", "from"),
            image("env", "a", "from -env"),
            image("app", "a b", "from run"),
            image("late", "a b c", "from -env run run"),
            image("other", "x", "from"),
            image("same", "a", "from"),
            image("empty", "", "-cmd"),
        ];
        let names: HashMap<Digest, &str> =
            ["base", "env", "app", "late", "other", "same", "empty"].map(|n| (Digest::of(n.as_bytes()), n)).into();
        let nodes = tree(images.into_iter().map(record).collect());
        let shown: Vec<String> = nodes
            .iter()
            .map(|n| {
                let base = n.base.map_or("-", |b| names[&b]);
                format!("{} on {base}: {} + {}", names[&n.record.id], n.own, n.shared)
            })
            .collect();
        let oldest = if Digest::of(b"base") < Digest::of(b"same") { "base" } else { "same" };
        assert_eq!(
            shown,
            [
                "base on -: 0 + 1".to_owned(),
                format!("env on {oldest}: 0 + 1"),
                "app on env: 0 + 11".to_owned(),
                "late on app: 100 + 11".to_owned(),
                "other on -: 1 + 0".to_owned(),
                "same on -: 0 + 1".to_owned(),
                "empty on -: 0 + 0".to_owned(),
            ]
        );
    }
}
