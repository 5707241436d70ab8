//! The daemon's stream of JSON messages (load, later pull and push), as Docker shows it: on a terminal one line for each
//! thing that is under way, elsewhere only what has been done.
//!
//! The lines are drawn by a pure function; where they go is the caller's business.

use super::terminal;
use super::units::human_size;
use anyhow::{Context as _, Result};
use dhow_api::{JsonMessage, ProgressDetail};
use std::io::{BufRead, BufReader, IsTerminal as _, Read};

/// One message may not be longer.
const MAX_LINE: u64 = 1024 * 1024;
/// Width of the bar between its brackets.
const BAR: usize = 50;
/// A terminal that is narrower than this gets numbers without a bar, as with Docker.
const NARROW: u16 = 110;

/// Prints the messages to their end; the error among them, if there is one.
pub fn follow(body: impl Read) -> Result<Option<String>> {
    let out = std::io::stdout();
    let width = out.is_terminal().then(|| terminal::size().map_or(80, |s| s.1));
    let mut screen = Screen::new(width);
    let mut lines = BufReader::new(body);
    let mut line = String::new();
    loop {
        line.clear();
        if (&mut lines).take(MAX_LINE).read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            continue;
        }
        let message: JsonMessage = serde_json::from_str(&line).context("a message of the daemon")?;
        if !message.error.is_empty() {
            return Ok(Some(message.error));
        }
        super::output::text_out(screen.show(&message));
    }
}

/// What has been drawn so far.
struct Screen {
    /// Columns, if it is a terminal.
    width: Option<u16>,
    /// What has a line of its own, top first; the cursor stands below the last.
    ids: Vec<String>,
}

impl Screen {
    fn new(width: Option<u16>) -> Self {
        Self { width, ids: Vec::new() }
    }

    /// The bytes that show a message.
    fn show(&mut self, message: &JsonMessage) -> String {
        if !message.stream.is_empty() {
            // Something of its own stands below all lines, which stay as they are.
            self.ids.clear();
            return message.stream.clone();
        }
        if message.status.is_empty() {
            return String::new();
        }
        let name = if message.id.is_empty() { String::new() } else { format!("{}: ", message.id) };
        let bar = message.progress_detail.as_ref().map(|p| bar(p, self.width.unwrap_or(0))).unwrap_or_default();
        let text = match bar.is_empty() {
            true => format!("{name}{}", message.status),
            false => format!("{name}{} {bar}", message.status),
        };
        match self.width {
            // How far things are is for people; a file gets what has happened.
            None if !bar.is_empty() => String::new(),
            None => text + "\n",
            Some(_) if message.id.is_empty() => {
                self.ids.clear();
                text + "\n"
            }
            Some(width) => {
                let (at, new) = match self.ids.iter().position(|id| *id == message.id) {
                    Some(at) => (at, ""),
                    None => {
                        self.ids.push(message.id.clone());
                        (self.ids.len() - 1, "\n")
                    }
                };
                let up = self.ids.len() - at;
                // A line that wraps would move all below it.
                let text: String = text.chars().take(usize::from(width).saturating_sub(1)).collect();
                format!("{new}\x1b[{up}A\x1b[2K\r{text}\r\x1b[{up}B")
            }
        }
    }
}

/// `[=====>    ]  12MB/50MB`, or the numbers alone.
fn bar(p: &ProgressDetail, width: u16) -> String {
    if p.current <= 0 && p.total <= 0 {
        return String::new();
    }
    let current = human_size(p.current);
    if p.total <= 0 {
        return format!("{current:>8}");
    }
    let part = (p.current as f64 / p.total as f64).clamp(0.0, 1.0);
    // More than announced: the total is not shown, as it is wrong.
    let numbers = match p.current > p.total {
        true => format!("{current:>8}"),
        false => format!("{current:>8}/{}", human_size(p.total)),
    };
    if width < NARROW {
        return numbers;
    }
    let full = (part * BAR as f64) as usize;
    let head = if full < BAR { ">" } else { "" };
    let rest = BAR - full - head.len();
    format!("[{}{head}{}] {numbers}", "=".repeat(full), " ".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(current: i64, total: i64) -> Option<ProgressDetail> {
        Some(ProgressDetail { current, total, ..Default::default() })
    }

    fn message(id: &str, status: &str, progress_detail: Option<ProgressDetail>) -> JsonMessage {
        JsonMessage { id: id.into(), status: status.into(), progress_detail, ..Default::default() }
    }

    #[test]
    fn bars() {
        for (current, total, width, want) in [
            (0, 0, 200, ""),
            (25, 100, 80, "     25B/100B"),
            (1_500_000, 0, 200, "   1.5MB"),
            (120, 100, 80, "    120B"),
            (0, 100, 200, "[>                                                 ]       0B/100B"),
            (50, 100, 200, "[=========================>                        ]      50B/100B"),
            (100, 100, 200, "[==================================================]     100B/100B"),
        ] {
            let p = ProgressDetail { current, total, ..Default::default() };
            assert_eq!(bar(&p, width), want, "{current}/{total} in {width}");
        }
    }

    #[test]
    fn a_file_gets_what_was_done_and_a_terminal_a_line_for_each() {
        let mut file = Screen::new(None);
        assert_eq!(file.show(&message("a", "Loading layer", detail(1, 2))), "");
        assert_eq!(file.show(&message("a", "Loaded", None)), "a: Loaded\n");
        assert_eq!(file.show(&JsonMessage::stream("done\n")), "done\n");

        let mut terminal = Screen::new(Some(80));
        assert_eq!(terminal.show(&message("a", "x", None)), "\n\x1b[1A\x1b[2K\ra: x\r\x1b[1B");
        assert_eq!(terminal.show(&message("b", "x", None)), "\n\x1b[1A\x1b[2K\rb: x\r\x1b[1B");
        assert_eq!(terminal.show(&message("a", "y", detail(1, 2))), "\x1b[2A\x1b[2K\ra: y       1B/2B\r\x1b[2B");
        assert_eq!(terminal.show(&JsonMessage::stream("done\n")), "done\n");
        assert_eq!(terminal.show(&message("a", "y", None)), "\n\x1b[1A\x1b[2K\ra: y\r\x1b[1B");
        let long = terminal.show(&message("a", &"w".repeat(200), None));
        assert!(long.contains(&"w".repeat(76)) && !long.contains(&"w".repeat(77)), "{long}");
    }
}
