//! One layer of an archive on its own thread: decompressed if need be, hashed, applied.

use super::pipe::{PipeReader, PipeWriter, Pool, pipe};
use super::sniff::Content;
use super::traffic::Traffic;
use crate::apply::{Applied, Limits, apply};
use dhow_types::{Context as _, Digest, DigestWriter, Error, ErrorKind, Result};
use std::io::{BufRead, Read, Write as _};
use std::path::Path;

/// Buffers between decompression and unpacking of one layer.
const INNER_BUFFERS: usize = 8;

/// What became of a layer's bytes.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub applied: Applied,
    /// Digest and size of the uncompressed tar, if the bytes were compressed; else they are those of the bytes.
    pub inflated: Option<(Digest, u64)>,
}

/// Unpacks the bytes that come through `input` into `dir`.
pub(crate) fn unpack(
    input: PipeReader,
    content: Content,
    dir: &Path,
    limits: &Limits,
    traffic: &Traffic,
) -> Result<Outcome> {
    match content {
        Content::Gzip | Content::Zstd => hashed(input, content, dir, limits, traffic),
        _ => Ok(Outcome { applied: apply(input, dir, limits)?, inflated: None }),
    }
}

/// The same, where the digest of the tar is told in any case.
pub(crate) fn hashed(
    input: impl BufRead + Send,
    content: Content,
    dir: &Path,
    limits: &Limits,
    traffic: &Traffic,
) -> Result<Outcome> {
    let what = match content {
        Content::Gzip => "decompress gzip",
        Content::Zstd => "decompress zstd",
        _ => "read the tar",
    };
    let pool = Pool::new(INNER_BUFFERS);
    let (writer, mut reader) = pipe(&pool);
    std::thread::scope(|scope| {
        let inflater = spawn(scope, "dhow-inflate", move || inflate(input, content, writer, limits, traffic))?;
        let applied = apply(&mut reader, dir, limits);
        // Without a reader the other thread ends soon, also if this one failed.
        drop(reader);
        let inflated = joined(inflater);
        match (applied, inflated) {
            // A broken stream shows as broken off here; the cause is there.
            (_, Err(e)) if e.text() != GONE => Err(e).context(what),
            (Err(e), _) => Err(e),
            (Ok(_), Err(e)) => Err(e),
            (Ok(applied), Ok(inflated)) => Ok(Outcome { applied, inflated: Some(inflated) }),
        }
    })
}

/// What the inflater says when the other side stopped reading.
const GONE: &str = "nobody reads the decompressed data";

fn inflate(
    input: impl BufRead + Send,
    content: Content,
    mut out: PipeWriter,
    limits: &Limits,
    traffic: &Traffic,
) -> Result<(Digest, u64)> {
    let mut decoder = decoder(input, content, limits)?;
    let mut hash = DigestWriter::new();
    let mut total = 0;
    loop {
        let mut chunk = out.buffer();
        let mut len = 0;
        while len < chunk.space().len() {
            match decoder.read(&mut chunk.space()[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::invalid(format!("the compressed data is damaged: {e}"))),
            }
        }
        if len == 0 {
            break;
        }
        hash.update(&chunk.space()[..len]);
        total += len as u64;
        traffic.unpacked(len, limits)?;
        if total > limits.layer_bytes.saturating_mul(2) {
            return Err(Error::new(ErrorKind::Exhausted, "the layer is far larger than the limit"));
        }
        if !out.send(chunk, len) {
            return Err(Error::system(GONE));
        }
    }
    out.flush().and_then(|()| out.finish()).map_err(|_| Error::system(GONE))?;
    Ok(hash.finish())
}

/// A decoder for `content`: several gzip members or zstd frames in a row count as one stream, as everywhere.
pub(crate) fn decoder<'a>(
    input: impl std::io::BufRead + Send + 'a,
    content: Content,
    limits: &Limits,
) -> Result<Box<dyn Read + Send + 'a>> {
    Ok(match content {
        Content::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Content::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            decoder.window_log_max(limits.zstd_window_log)?;
            Box::new(decoder)
        }
        _ => Box::new(input),
    })
}

/// A named thread with a small stack: nothing here recurses.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    name: &str,
    f: impl FnOnce() -> T + Send + 'scope,
) -> Result<std::thread::ScopedJoinHandle<'scope, T>> {
    const STACK: usize = 512 << 10;
    std::thread::Builder::new().name(name.into()).stack_size(STACK).spawn_scoped(scope, f).context("start a thread")
}

/// A thread's result; its panic is an error of ours, not of the whole process.
pub(crate) fn joined<T>(handle: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    handle.join().unwrap_or_else(|_| Err(Error::system("a thread that unpacks a layer failed: this is a bug in dhow")))
}
