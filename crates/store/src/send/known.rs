//! What is remembered of layers that came or went: their forms, and in which repositories these are.

use super::Form;
use crate::db::LayerBlob;
use crate::{Store, images};
use dhow_types::{Digest, Reference, Result};

impl Store {
    /// The forms in which a layer came or went, the last seen first.
    pub fn forms(&self, diff_id: &Digest) -> Result<Vec<Form>> {
        let form = |b: LayerBlob| Form { digest: b.digest, size: b.size, media_type: b.media_type, kept: b.kept };
        Ok(self.inner.db.forms(diff_id)?.into_iter().map(form).collect())
    }

    /// Notes a form of a layer.
    pub fn note_form(&self, diff_id: &Digest, form: &Form) -> Result<()> {
        let Form { digest, size, media_type, .. } = form.clone();
        self.inner.db.put_form(&LayerBlob { digest, diff_id: *diff_id, size, media_type, kept: false })
    }

    /// Notes that forms are in a repository, which is a path, of a registry, which is a domain as in the names of images.
    /// Forms that are not known are passed over.
    pub fn note_sources(&self, forms: &[Digest], registry: &str, repository: &str) -> Result<()> {
        self.inner.db.put_sources(forms, registry, repository, images::now())
    }

    /// Notes that it is there no more.
    pub fn forget_source(&self, digest: &Digest, registry: &str, repository: &str) -> Result<()> {
        self.inner.db.remove_source(digest, registry, repository)
    }

    /// Registries and repositories where a form was seen, the last one first.
    pub fn sources(&self, digest: &Digest) -> Result<Vec<(String, String)>> {
        self.inner.db.sources(digest)
    }

    /// Notes by which digest a repository knows an image.
    pub fn note_digest(&self, repository: &Reference, digest: Digest, image: &Digest) -> Result<()> {
        let _publishing = self.publishing();
        self.inner.db.set_reference(&repository.with_digest(digest), image, images::now())
    }
}
