//! Who a container runs as: its own passwd and group files, read once per image.

use crate::plan::user::{Identity, resolve};
use dhow_store::merged::View;
use dhow_types::{Digest, Result};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Images whose files are kept, and the largest that are.
const MAX_KEPT: usize = 16;
const MAX_KEPT_BYTES: usize = 64 << 10;

/// The texts of passwd and group.
type Texts = Arc<(String, String)>;

/// Kept files.
#[derive(Debug, Default)]
pub(crate) struct UserFiles {
    kept: Mutex<HashMap<Digest, Texts>>,
}

impl UserFiles {
    /// Resolves a user against an image nobody wrote to yet. `layers` top first.
    pub(crate) fn of_image<P: AsRef<Path>>(
        &self,
        image: &Digest,
        layers: &[P],
        spec: &str,
        add: &[String],
    ) -> Result<Identity> {
        let kept = self.lock().get(image).cloned();
        let texts = match kept {
            Some(texts) => texts,
            None => {
                let texts = Arc::new(read(&View::open(layers)?)?);
                let mut kept = self.lock();
                if texts.0.len() + texts.1.len() <= MAX_KEPT_BYTES {
                    if kept.len() >= MAX_KEPT {
                        kept.clear();
                    }
                    kept.insert(*image, texts.clone());
                }
                texts
            }
        };
        resolve(spec, add, &texts.0, &texts.1)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Texts>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves a user against a tree as it is now.
pub(crate) fn of_tree(root: &View, spec: &str, add: &[String]) -> Result<Identity> {
    let (passwd, group) = read(root)?;
    resolve(spec, add, &passwd, &group)
}

fn read(root: &View) -> Result<(String, String)> {
    Ok((root.read("/etc/passwd")?, root.read("/etc/group")?))
}
