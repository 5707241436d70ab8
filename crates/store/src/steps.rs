//! Single steps of the store on plain directories: for fuzz targets, and for tests that compare them with what other
//! programs do. Nothing of dhow itself comes this way.

use crate::apply::{Workplace, apply};
use crate::load::metered::metered;
use crate::load::pipe::{Chunk, Pool};
use crate::load::plan::{self, Files};
use crate::rebuild::{Gather, Source, Strict};
use crate::{Limits, pack as packing};
use dhow_types::{Digest, Error, ErrorKind, Platform, Result};
use std::path::{Path, PathBuf};

/// Unpacks a layer's tar into `dir`, which is empty: its tree, which is returned, and the recipe beside it.
pub fn unpack(tar: &[u8], dir: &Path, limits: &Limits) -> Result<PathBuf> {
    apply(tar, dir, limits)?;
    Ok(Workplace::new(dir).tree)
}

/// Writes the tar again from what [`unpack`] left in `dir`; a tar longer than `most` is an error.
pub fn rebuild(dir: &Path, most: usize) -> Result<Vec<u8>> {
    let place = Workplace::new(dir);
    let from = Source { tree: place.tree, recipe: place.recipe, displaced: place.displaced, most: u64::MAX };
    let pool = Pool::new(1);
    let mut tar = Vec::new();
    let mut full = |mut chunk: Chunk, len: usize| {
        if tar.len() + len > most {
            return Err(Error::new(ErrorKind::Exhausted, "the tar is longer than it may be"));
        }
        tar.extend_from_slice(&chunk.space()[..len]);
        Ok(())
    };
    let mut out = Gather::new(&pool, &mut full);
    crate::rebuild::rebuild(&from, &mut out, &mut Strict)?;
    out.finish()?;
    Ok(tar)
}

/// The tar that `commit` makes of a directory that a container wrote into.
pub fn pack(upper: &Path) -> Result<Vec<u8>> {
    let mut tar = Vec::new();
    packing::layer_tar(upper, &mut tar)?;
    Ok(tar)
}

/// A layer of an archive that is read by [`images`]: its name, the digest of its bytes, and that of its tar.
pub type LayerFile = (Vec<u8>, Digest, Digest);

/// The ids of the images of an archive that holds these documents, by name, and these layers.
pub fn images(documents: &[(Vec<u8>, Vec<u8>)], layers: &[LayerFile]) -> Result<Vec<Digest>> {
    let files = Held { documents, layers };
    let images = metered(&files, |files| plan::plan(files, &Platform::host(), None))?;
    Ok(images.iter().map(|image| image.id).collect())
}

struct Held<'a> {
    documents: &'a [(Vec<u8>, Vec<u8>)],
    layers: &'a [LayerFile],
}

impl Files for Held<'_> {
    fn document(&self, name: &[u8]) -> Option<&[u8]> {
        self.documents.iter().find(|d| d.0 == name).map(|d| d.1.as_slice())
    }
    fn document_with(&self, digest: &Digest) -> Option<&[u8]> {
        self.documents.iter().find(|d| Digest::of(&d.1) == *digest).map(|d| d.1.as_slice())
    }
    fn layer(&self, name: &[u8]) -> Option<usize> {
        self.layers.iter().position(|l| l.0 == name)
    }
    fn layer_with(&self, digest: &Digest) -> Option<usize> {
        self.layers.iter().position(|l| l.1 == *digest)
    }
    fn diff_id(&self, layer: usize) -> Result<Digest> {
        self.layers.get(layer).map(|l| l.2).ok_or_else(|| Error::invalid("no such layer"))
    }
}
