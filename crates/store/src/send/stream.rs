//! The bytes of one layer: kept ones as they are, or its tar, made anew and packed on the way. What turns out not to be
//! the layer has no end.

use super::gzip::{Gzip, blocks_ahead};
use super::skip::{Out, Skip};
use super::{Compression, Form, How, Sending, SentLayer};
use crate::load::pipe::{CHUNK, Chunk, Pool};
use crate::rebuild::rebuild_checked;
use dhow_types::image::media_type;
use dhow_types::{Context as _, Digest, Error, ErrorKind, Result};
use std::fs::File;
use std::io::{Read as _, Write};

/// Buffers of a layer beside those that are being compressed: the one that is filled and the one before it.
const OWN_BUFFERS: usize = 2;

/// How far zstd looks back: 8 MiB, which every reader must be able to.
const WINDOW_LOG: u32 = 23;

impl Compression {
    /// The media type of a layer that is packed so. Docker has one for gzip only.
    pub fn media_type(&self, docker: bool) -> String {
        match (self, docker) {
            (Self::Gzip(_), true) => media_type::DOCKER_LAYER.to_owned(),
            (Self::Gzip(_), false) => format!("{}+gzip", media_type::OCI_LAYER),
            (Self::Zstd(_), _) => format!("{}+zstd", media_type::OCI_LAYER),
        }
    }
}

impl Sending {
    /// Gives the bytes of a layer after the first `from`, piece by piece, to `out`, whose error ends it; with each piece
    /// comes how much of the tar is in what came so far. All is right only if this ends well: a layer that is damaged
    /// is an error after its bytes.
    pub fn stream(&self, layer: &SentLayer, how: &How, from: u64, out: Out<'_>) -> Result<Form> {
        let what = || format!("send layer {}", layer.diff_id.short());
        let to = Skip::new(from, out);
        let compression = match how {
            How::Kept(form) => return self.kept(layer, form, to).with_context(what).map(|()| form.clone()),
            How::Packed(compression) => compression,
        };
        let (digest, size) = match compression {
            Compression::Gzip(level) => self.gzip(layer, *level, to),
            Compression::Zstd(level) => self.zstd(layer, *level, to),
        }
        .with_context(what)?;
        Ok(Form { digest, size, media_type: compression.media_type(false), kept: false })
    }

    fn kept(&self, layer: &SentLayer, form: &Form, mut to: Skip<'_>) -> Result<()> {
        let path = self.paths().blob(&form.digest);
        let mut file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let mut done = 0;
        loop {
            let mut bytes = Vec::with_capacity(CHUNK);
            let n = (&mut file).take(CHUNK as u64).read_to_end(&mut bytes)? as u64;
            if n == 0 {
                break;
            }
            done += n;
            // How much of the tar is in it is guessed.
            let tar = (u128::from(layer.tar_size) * u128::from(done) / u128::from(form.size.max(1))) as u64;
            to.bytes(bytes, tar)?;
        }
        let (digest, size) = to.finish();
        if (digest, size) == (form.digest, form.size) {
            return Ok(());
        }
        let text = format!("{} is damaged: its bytes do not have that digest", path.display());
        Err(Error::new(ErrorKind::DataLoss, text).advised("mend it with `dhow system check --repair`"))
    }

    fn gzip(&self, layer: &SentLayer, level: u32, to: Skip<'_>) -> Result<(Digest, u64)> {
        let workers = self.store.inner.sends.workers()?;
        let pool = Pool::new(blocks_ahead(&workers) + OWN_BUFFERS);
        let mut gzip = Gzip::new(workers, level, to)?;
        rebuild_checked(self.paths(), &layer.diff_id, &pool, &mut |chunk, len| gzip.block(chunk, len))?;
        gzip.finish()
    }

    fn zstd(&self, layer: &SentLayer, level: i32, to: Skip<'_>) -> Result<(Digest, u64)> {
        let failed = |e: std::io::Error| Error::from(e).prefixed("compress with zstd");
        // As many at a time as there are cores: each has a window in memory.
        let _place = self.store.inner.sends.place();
        let pool = Pool::new(OWN_BUFFERS);
        let gathered = Gathered { bytes: Vec::with_capacity(CHUNK), to, tar: 0, failed: None };
        let mut encoder = zstd::stream::write::Encoder::new(gathered, level).map_err(failed)?;
        encoder.window_log(WINDOW_LOG).map_err(failed)?;
        encoder.long_distance_matching(true).map_err(failed)?;
        // Who unpacks it knows then how much memory that takes.
        encoder.set_pledged_src_size(Some(layer.tar_size)).map_err(failed)?;
        let mut each = |mut chunk: Chunk, len: usize| {
            let written = encoder.write_all(&chunk.space()[..len]);
            encoder.get_mut().tar += len as u64;
            written.map_err(|e| encoder.get_mut().failed.take().unwrap_or_else(|| failed(e)))
        };
        rebuild_checked(self.paths(), &layer.diff_id, &pool, &mut each)?;
        let mut gathered = encoder.finish().map_err(failed)?;
        gathered.hand_on()?;
        Ok(gathered.to.finish())
    }
}

/// What an encoder writes, in pieces that are worth handing on.
struct Gathered<'a> {
    bytes: Vec<u8>,
    to: Skip<'a>,
    tar: u64,
    /// What an error of `to` was, which a writer can't say.
    failed: Option<Error>,
}

impl Gathered<'_> {
    fn hand_on(&mut self) -> Result<()> {
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(CHUNK));
        self.to.bytes(bytes, self.tar)
    }
}

impl Write for Gathered<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = bytes.len().min(CHUNK - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..n]);
        if self.bytes.len() == CHUNK
            && let Err(e) = self.hand_on()
        {
            self.failed = Some(e);
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
