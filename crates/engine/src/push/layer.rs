//! One layer on its way: it is there in a known form, or another repository of the registry has it, or its bytes go.

use super::show::Shown;
use crate::core::{Core, blocking};
use bytes::Bytes;
use dhow_distribution::{Mounted, Opened, Piece, Repository, Session};
use dhow_store::{Compression, Form, How, Sending, SentLayer};
use dhow_types::{Digest, Error, Result};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Pieces of one layer between the thread that makes them and the connection.
const PIECES_AHEAD: usize = 4;
/// The most forms that are asked for in the repository.
const MAX_LOOKS: usize = 4;
/// The most repositories that are asked for a mount.
const MAX_MOUNTS: usize = 4;
/// The stack of a layer's thread: nothing there recurses.
const STACK: usize = 512 << 10;
/// How layers are packed when nobody said how.
const USUAL: Compression = Compression::Gzip(6);

/// What one push does with each layer.
pub(super) struct Way {
    pub(super) core: Arc<Core>,
    pub(super) repository: Repository,
    pub(super) sending: Arc<Sending>,
    pub(super) compression: Option<Compression>,
    /// The digests in the image's own manifest.
    pub(super) own: Vec<Digest>,
}

/// How a media type says that a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    No,
    Gzip,
    Zstd,
}

impl Packed {
    pub(super) fn of(media_type: &str) -> Self {
        match media_type.rsplit(['.', '+']).next() {
            Some("gzip") => Self::Gzip,
            Some("zstd") => Self::Zstd,
            _ => Self::No,
        }
    }
}

impl Way {
    fn registry(&self) -> &str {
        self.repository.name().domain()
    }
    fn path(&self) -> &str {
        self.repository.name().path()
    }

    /// Whether a form will do.
    fn fits(&self, form: &Form) -> bool {
        match (self.compression, Packed::of(&form.media_type)) {
            (None, Packed::Gzip | Packed::Zstd) => true,
            // As it came, if the image's own manifest says so.
            (None, Packed::No) => self.own.contains(&form.digest),
            (Some(Compression::Gzip(_)), packed) => packed == Packed::Gzip,
            (Some(Compression::Zstd(_)), packed) => packed == Packed::Zstd,
        }
    }

    /// The forms that will do, the likeliest first: what the image's manifest names, then what was seen in this
    /// repository, then the rest.
    async fn forms(&self, diff_id: &Digest) -> Result<Vec<(Form, Vec<String>)>> {
        let (core, diff_id, registry) = (self.core.clone(), *diff_id, self.registry().to_owned());
        // Asked anew, as another push may have brought it in the meantime.
        let known = blocking(move || {
            let mut known = Vec::new();
            for form in core.store.forms(&diff_id)? {
                let sources = core.store.sources(&form.digest)?.into_iter();
                let sources = sources.filter(|(r, _)| *r == registry).map(|(_, repository)| repository).collect();
                known.push((form, sources));
            }
            Ok(known)
        });
        let mut forms: Vec<(Form, Vec<String>)> = known.await?.into_iter().filter(|(f, _)| self.fits(f)).collect();
        let rank = |form: &Form, sources: &[String]| {
            (!self.own.contains(&form.digest), !sources.iter().any(|s| s == self.path()))
        };
        forms.sort_by_key(|(form, sources)| rank(form, sources));
        Ok(forms)
    }

    /// Brings a layer to the registry, and says in which form it is there.
    pub(super) async fn send(&self, layer: &SentLayer, shown: &Arc<Shown>) -> Result<Form> {
        let what = format!("layer {}", layer.diff_id.short());
        let forms = self.forms(&layer.diff_id).await?;
        for (form, sources) in forms.iter().take(MAX_LOOKS) {
            match self.repository.has_blob(&what, &form.digest).await? {
                Some(size) if size == form.size => {
                    self.remember(layer, form).await;
                    shown.status("Layer already exists").await;
                    return Ok(form.clone());
                }
                _ if sources.iter().any(|s| s == self.path()) => self.forget(form, self.path()).await,
                _ => {}
            }
        }
        let mut begun = None;
        let elsewhere = forms.iter().flat_map(|(form, sources)| sources.iter().map(move |s| (form, s)));
        let elsewhere: Vec<_> = elsewhere.filter(|(_, from)| *from != self.path()).take(MAX_MOUNTS).collect();
        for (form, from) in elsewhere {
            match self.repository.mount(&what, &form.digest, from).await? {
                Mounted::Yes => {
                    self.remember(layer, form).await;
                    shown.status(format!("Mounted from {from}")).await;
                    return Ok(form.clone());
                }
                // The one before is taken back.
                Mounted::Upload(session) => begun = Some(session),
                Mounted::No => {}
            }
            self.forget(form, from).await;
        }
        let kept = forms.into_iter().map(|(form, _)| form).find(|f| f.kept && Packed::of(&f.media_type) != Packed::No);
        let how = kept.map_or(How::Packed(self.compression.unwrap_or(USUAL)), How::Kept);
        let form = self.upload(layer, &what, &how, begun, shown).await?;
        self.remember(layer, &form).await;
        shown.status("Pushed").await;
        Ok(form)
    }

    async fn upload(
        &self,
        layer: &SentLayer,
        what: &str,
        how: &How,
        begun: Option<Session>,
        shown: &Arc<Shown>,
    ) -> Result<Form> {
        let source = |from: u64| self.open(layer, how, from, shown);
        let told = |wait, cause: &dhow_distribution::Cause| {
            tracing::info!(%cause, "the upload of {what} broke off");
            shown.retry(wait);
        };
        let (digest, size) = self.repository.upload(what, begun, &source, &told).await?;
        Ok(match how {
            How::Kept(form) => form.clone(),
            How::Packed(compression) => Form { digest, size, media_type: compression.media_type(false), kept: false },
        })
    }

    /// The bytes of a layer from an offset on, made on a thread of their own until nobody takes them any more.
    fn open(&self, layer: &SentLayer, how: &How, from: u64, shown: &Arc<Shown>) -> Opened {
        let (to, opened) = mpsc::channel(PIECES_AHEAD);
        let (sending, layer, how, shown) = (self.sending.clone(), layer.clone(), how.clone(), shown.clone());
        let fails = to.clone();
        let work = move || {
            let mut out = |bytes: Vec<u8>, tar| {
                to.blocking_send(Ok(Piece::Bytes(Bytes::from(bytes)))).map_err(|_| Error::system("nobody takes it"))?;
                shown.at(tar);
                Ok(())
            };
            let end = sending.stream(&layer, &how, from, &mut out);
            let _ = to.blocking_send(end.map(|form| Piece::End { digest: form.digest, size: form.size }));
        };
        // A layer takes as long as its registry likes, and the threads of the runtime are everybody's.
        let thread = std::thread::Builder::new().name("dhow-layer".into()).stack_size(STACK);
        if let Err(e) = thread.spawn(work) {
            // The channel is empty: there is room.
            let _ = fails.try_send(Err(Error::from(e).prefixed("start a thread")));
        }
        opened
    }

    /// What is learned makes the next push shorter; that it can't be noted is no failure of this one.
    async fn remember(&self, layer: &SentLayer, form: &Form) {
        let (core, diff_id, form) = (self.core.clone(), layer.diff_id, form.clone());
        let (registry, repository) = (self.registry().to_owned(), self.path().to_owned());
        let noted = blocking(move || {
            core.store.note_form(&diff_id, &form)?;
            core.store.note_sources(&[form.digest], &registry, &repository)
        });
        if let Err(error) = noted.await {
            tracing::warn!(%error, "where a layer is could not be noted");
        }
    }

    async fn forget(&self, form: &Form, repository: &str) {
        let (core, digest) = (self.core.clone(), form.digest);
        let (registry, repository) = (self.registry().to_owned(), repository.to_owned());
        if let Err(error) = blocking(move || core.store.forget_source(&digest, &registry, &repository)).await {
            tracing::warn!(%error, "where a layer is no more could not be noted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::image::media_type;

    #[test]
    fn how_a_layer_is_packed() {
        for (media_type, expected) in [
            (media_type::DOCKER_LAYER, Packed::Gzip),
            (media_type::OCI_LAYER, Packed::No),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Packed::Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Packed::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar", Packed::No),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Packed::Zstd),
            ("", Packed::No),
        ] {
            assert_eq!(Packed::of(media_type), expected, "{media_type}");
        }
    }
}
