//! `load` and `save`: images from and to archives.

use super::context::Context;
use super::file_out::{CHUNK, FileOut};
use super::output;
use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use dhow_client::{Upload, query};
use dhow_types::Platform;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

/// A platform as the API's parameter has it.
pub fn platform_json(platform: &Platform) -> String {
    serde_json::json!({
        "architecture": platform.architecture, "os": platform.os, "variant": platform.variant,
    })
    .to_string()
}

/// Standard input as the body of a request; its length is known where it is a file.
pub(super) fn standard_input() -> Result<Upload> {
    Ok(std::fs::File::from(rustix::io::dup(rustix::stdio::stdin())?).into())
}

/// Load images from an archive (docker save, OCI layout)
#[derive(Parser, Debug)]
pub struct LoadArgs {
    /// Archive, plain or compressed with gzip or zstd; standard input without it
    #[arg(short, long, value_name = "FILE")]
    input: Option<std::path::PathBuf>,
    /// Print less
    #[arg(short, long)]
    quiet: bool,
    /// Only the image for this platform (os/arch[/variant])
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
}

/// `dhow load`.
pub fn load(context: &Context, args: LoadArgs) -> Result<i32> {
    let file: Upload = match &args.input {
        Some(path) => std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?.into(),
        None if std::io::stdin().is_terminal() => {
            bail!("requested load from stdin, but stdin is empty: give -i FILE or pipe an archive in")
        }
        None => standard_input()?,
    };
    let client = context.client();
    // A daemon is started before the archive is read, which can be sent only once.
    context.awake(&client)?;
    let path = format!(
        "/images/load{}",
        query::build(&[("quiet", query::flag(args.quiet)), ("platform", args.platform.as_ref().map(platform_json)),])
    );
    let mut response = client.upload(&path, "application/x-tar", file)?;
    if let Some(error) = super::progress::follow(&mut response.body, super::progress::To::Stdout)?.error {
        response.reading_failed().context("read the archive")?;
        output::note(&error);
        return Ok(1);
    }
    response.sent().context("read the archive")?;
    Ok(0)
}

/// How an archive is compressed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compression {
    Gzip,
    Zstd,
}

/// Save images to an archive (standard output by default)
#[derive(Parser, Debug)]
pub struct SaveArgs {
    /// Write to a file, which appears when it is whole, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only if the images are for this platform (os/arch[/variant])
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Compress the archive (not in Docker); `dhow load` and `docker load` read it as it is
    #[arg(long, value_name = "gzip|zstd")]
    compress: Option<Compression>,
    /// Images, by name or id; a name without a tag means all its tags
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// `dhow save`.
pub fn save(context: &Context, args: SaveArgs) -> Result<i32> {
    if args.output.is_none() && std::io::stdout().is_terminal() {
        bail!("cowardly refusing to save to a terminal. Use the -o flag or redirect");
    }
    let mut pairs: Vec<(&str, Option<String>)> = args.images.iter().map(|i| ("names", Some(i.clone()))).collect();
    pairs.push(("platform", args.platform.as_ref().map(platform_json)));
    let path = format!("/images/get{}", query::build(&pairs));
    let client = context.client();
    // A daemon is started before; the answer may be read once only.
    context.awake(&client)?;
    let mut response = client.send("GET", &path)?;
    let size = response.header("content-length").and_then(|n| n.parse().ok()).filter(|_| args.compress.is_none());
    match &args.output {
        Some(file) => {
            let mut out = FileOut::create(file, size).context("failed to save image")?;
            transfer(&mut response.body, &mut out, args.compress)
                .with_context(|| format!("failed to save image to {}", file.display()))?;
            out.finish()?;
        }
        None => {
            let mut out = std::fs::File::from(rustix::io::dup(rustix::stdio::stdout())?);
            transfer(&mut response.body, &mut out, args.compress)?;
        }
    }
    Ok(0)
}

/// What is said to fail when the place is full.
const WRITING: &str = "write the archive";

/// Moves the archive from the daemon to its place.
fn transfer(from: &mut impl Read, out: &mut impl Write, compress: Option<Compression>) -> Result<()> {
    let cut = "the daemon broke the archive off: its log says why";
    match compress {
        None => copy(from, out, cut),
        Some(Compression::Gzip) => {
            let mut encoder = flate2::write::GzEncoder::new(Large::new(out), flate2::Compression::default());
            copy(from, &mut encoder, cut)?;
            encoder.finish().and_then(Large::finish).context(WRITING)
        }
        Some(Compression::Zstd) => {
            let mut encoder = zstd::Encoder::new(Large::new(out), 0)?;
            copy(from, &mut encoder, cut)?;
            encoder.finish().and_then(Large::finish).context(WRITING)
        }
    }
}

fn copy(from: &mut impl Read, out: &mut impl Write, cut: &'static str) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut have = 0;
        // Sockets give little at a time.
        while have < buffer.len() {
            match from.read(&mut buffer[have..]) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context(cut),
            }
        }
        if have == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..have]).context(WRITING)?;
    }
}

/// Gathers the small pieces that an encoder gives. Unlike a `BufWriter` it writes nothing when it is dropped, so
/// that a failure leaves no end that looks like one.
struct Large<'a, W: Write> {
    out: &'a mut W,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Large<'a, W> {
    fn new(out: &'a mut W) -> Self {
        Self { out, buffer: Vec::with_capacity(CHUNK) }
    }
    fn finish(mut self) -> std::io::Result<()> {
        self.flush()
    }
}

impl<W: Write> Write for Large<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
