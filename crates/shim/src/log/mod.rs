//! The log of one container: where its output goes besides the clients. One kind of log a file; what they have in common
//! stands here. What a reader does never lives here.

mod json_file;
mod segments;

use crate::protocol::LogConfig;
use dhow_types::Result;
use json_file::JsonFile;
use segments::Segments;

/// The longest piece of a line, newline included.
pub(crate) const MAX_PIECE: usize = 16 << 10;

/// One of a process's two outputs. A terminal's output counts as stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Its number in Docker's stream frames, and as a descriptor.
    pub fn number(self) -> u8 {
        match self {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        }
    }
    pub(crate) fn index(self) -> usize {
        usize::from(self.number()) - 1
    }
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// An open log.
#[derive(Debug)]
pub enum Log {
    /// Files as Docker's `json-file` writes them.
    JsonFile(JsonFile),
    /// Bounded segments.
    Segments(Segments),
}

impl Log {
    /// Opens, or creates, what `config` says; `None` for no log.
    pub fn open(config: &LogConfig) -> Result<Option<Self>> {
        Ok(match config {
            LogConfig::None => None,
            LogConfig::JsonFile { path, max_size, max_files, compress, attrs } => {
                let log = JsonFile::open(path, *max_size, *max_files, attrs.as_deref())?;
                Some(Log::JsonFile(if *compress { log.compressed() } else { log }))
            }
            LogConfig::Segments { dir, max_size, max_files } => {
                Some(Log::Segments(Segments::open(dir, *max_size, *max_files)?))
            }
        })
    }

    /// Adds output of `stream`. Never waits for anything but the disk.
    pub fn write(&mut self, stream: Stream, data: &[u8]) {
        match self {
            Log::JsonFile(log) => log.write(stream, data),
            Log::Segments(log) => log.write(stream, data),
        }
    }

    /// `stream` has ended: what it left without a newline is written.
    pub fn finish(&mut self, stream: Stream) {
        match self {
            Log::JsonFile(log) => log.finish(stream),
            Log::Segments(log) => log.finish(stream),
        }
    }

    /// Bytes of output that could not be kept.
    pub fn lost(&self) -> u64 {
        match self {
            Log::JsonFile(log) => log.lost(),
            Log::Segments(log) => log.lost(),
        }
    }

    /// Nothing is written for the moment: gives back memory.
    pub fn rest(&mut self) {
        if let Log::Segments(log) = self {
            log.rest();
        }
    }

    /// Whether a file was left for the next one since the last question, and may be packed.
    pub fn take_turned(&mut self) -> bool {
        match self {
            Log::JsonFile(log) => log.take_turned(),
            Log::Segments(log) => log.take_turned(),
        }
    }
}

/// How many bytes of `piece` can be cut off without cutting a character in two; all of them when it is no UTF-8.
pub(crate) fn whole_characters(piece: &[u8]) -> usize {
    match std::str::from_utf8(piece) {
        // The error is at the very end and only for want of more bytes.
        Err(e) if e.error_len().is_none() && e.valid_up_to() > 0 => e.valid_up_to(),
        _ => piece.len(),
    }
}
