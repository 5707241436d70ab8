//! The daemon's stream of JSON messages (load, pull, push), as Docker shows it: on a terminal one line for each thing that
//! is under way, elsewhere only what has been done.
//!
//! What is drawn is decided by pure functions ([`screen`], [`bar`]); this is where messages come from and text goes to.

mod bar;
mod screen;

use super::output;
use anyhow::{Context as _, Result};
use dhow_api::JsonMessage;
use rustix::termios::tcgetwinsize;
use screen::{Screen, Size};
use serde_json::Value;
use std::io::{BufRead, BufReader, IsTerminal as _, Read};
use std::time::Instant;

/// One message may not be longer.
const MAX_LINE: u64 = 1024 * 1024;
/// So many messages for programs are kept.
const MAX_ASIDE: usize = 64;
/// A terminal that does not say how large it is.
const USUAL: Size = Size { rows: 24, columns: 80 };

/// Where messages are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere: only an error counts.
    Nowhere,
}

/// How a stream ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// The error, if there was one.
    pub error: Option<String>,
    /// What was said to programs, not to people (`aux`).
    pub aside: Vec<Value>,
}

impl To {
    /// The terminal there, if it is one. It may become larger and smaller meanwhile.
    fn size(self) -> Option<Size> {
        let asked = match self {
            Self::Stdout if std::io::stdout().is_terminal() => tcgetwinsize(std::io::stdout()),
            Self::Stderr if std::io::stderr().is_terminal() => tcgetwinsize(std::io::stderr()),
            _ => return None,
        };
        let known = asked.ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
        Some(known.map_or(USUAL, |size| Size { rows: size.ws_row, columns: size.ws_col }))
    }

    fn write(self, text: &str) {
        match self {
            _ if text.is_empty() => {}
            Self::Stdout => output::text_out(text),
            Self::Stderr => output::err_out(text),
            Self::Nowhere => {}
        }
    }
}

/// Shows the messages to their end.
pub fn follow(body: impl Read, to: To) -> Result<Ended> {
    let mut screen = Screen::default();
    let mut lines = BufReader::new(body);
    let mut line = String::new();
    let mut ended = Ended::default();
    loop {
        line.clear();
        if (&mut lines).take(MAX_LINE).read_line(&mut line).context("read the daemon's messages")? == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let message: JsonMessage = serde_json::from_str(&line).context("a message of the daemon")?;
        let detail = message.error_detail.as_ref().map(|e| e.message.clone()).filter(|m| !m.is_empty());
        if let Some(error) = detail.or_else(|| Some(message.error.clone()).filter(|m| !m.is_empty())) {
            ended.error = Some(error);
            break;
        }
        match message.aux {
            Some(aside) if ended.aside.len() < MAX_ASIDE => ended.aside.push(aside),
            Some(_) => {}
            None => to.write(&screen.show(&message, to.size(), Instant::now())),
        }
    }
    to.write(&screen.finish());
    Ok(ended)
}
