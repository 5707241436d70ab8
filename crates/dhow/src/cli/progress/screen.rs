//! What has been drawn of a stream of messages, and what has to be written to show one more. Pure.
//!
//! On a terminal each thing has a line of its own, and the cursor stands below the last. As long as all lines fit, they
//! are drawn as Docker draws them. A cursor can't go above the top of the terminal: where there are more lines than fit,
//! finished ones move up out of the picture for good, and what still does not fit waits behind a line that counts it.

use super::bar::{Meter, bar};
use crate::cli::units::human_size;
use dhow_api::JsonMessage;
use std::time::Instant;

/// A terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// The last words on a thing: nothing changes in its line afterwards.
const LAST_WORDS: &[&str] =
    &["Pull complete", "Already exists", "Pushed", "Layer already exists", "Skipped foreign layer", "Loaded"];

struct Line {
    id: String,
    status: String,
    text: String,
    meter: Meter,
}

impl Line {
    fn finished(&self) -> bool {
        LAST_WORDS.contains(&self.status.as_str()) || self.status.starts_with("Mounted from ")
    }
}

/// See the module.
#[derive(Default)]
pub struct Screen {
    /// What has a line of its own, top first.
    lines: Vec<Line>,
    /// How many lines stand above the cursor.
    drawn: usize,
    /// How many of [`Screen::lines`] do not stand there.
    hidden: usize,
}

impl Screen {
    /// What is to be written to show a message, on a terminal of this size or elsewhere.
    pub fn show(&mut self, message: &JsonMessage, size: Option<Size>, now: Instant) -> String {
        if !message.stream.is_empty() {
            // Something of its own stands below all lines, which stay as they are.
            return self.finish() + &message.stream;
        }
        if message.status.is_empty() {
            return String::new();
        }
        let name = if message.id.is_empty() { String::new() } else { format!("{}: ", message.id) };
        let progress = message.progress_detail.as_ref();
        let shown = progress.map(|p| bar(p, size.map_or(0, |s| s.columns))).unwrap_or_default();
        let mut text = match shown.is_empty() {
            true => format!("{name}{}", message.status),
            false => format!("{name}{} {shown}", message.status),
        };
        let Some(size) = size else {
            // How far things are is for people; a file gets what has happened.
            return if shown.is_empty() { text + "\n" } else { String::new() };
        };
        let known = self.lines.iter().position(|line| line.id == message.id);
        if message.id.is_empty() || (progress.is_none() && known.is_none()) {
            return self.finish() + &text + "\n";
        }
        let at = known.unwrap_or(self.lines.len());
        if known.is_none() {
            let (id, status) = (message.id.clone(), message.status.clone());
            self.lines.push(Line { id, status, text: String::new(), meter: Meter::default() });
        }
        let line = &mut self.lines[at];
        if line.status != message.status {
            line.status.clone_from(&message.status);
            line.meter = Meter::default();
        }
        // A line that wraps would move all below it.
        let room = usize::from(size.columns).saturating_sub(1);
        if let Some(p) = progress.filter(|p| p.current > 0 && p.units.is_empty() && !shown.is_empty())
            && let Some(rate) = line.meter.rate(p.current, now)
        {
            let rate = format!("  {}/s", human_size(rate));
            if text.chars().count() + rate.len() <= room {
                text.push_str(&rate);
            }
        }
        line.text = text.chars().take(room).collect();
        self.draw(at, usize::from(size.rows.saturating_sub(1)).max(1))
    }

    /// Draws the line `at`, where so many lines can be seen.
    fn draw(&mut self, at: usize, height: usize) -> String {
        if self.hidden == 0 && self.lines.len() <= height {
            let new = if self.drawn < self.lines.len() { "\n" } else { "" };
            self.drawn = self.lines.len();
            return self.replace(at, new);
        }
        let mut gone = String::new();
        while self.lines.len() > height
            && let Some(first) = self.lines.iter().position(Line::finished)
        {
            gone.push_str(&format!("\x1b[2K{}\n", self.lines.remove(first).text));
        }
        // The last one counts those that do not fit.
        let seen = if self.lines.len() <= height { self.lines.len() } else { height - 1 };
        let hidden = self.lines.len() - seen;
        let rows = seen + usize::from(hidden > 0);
        if gone.is_empty() && hidden == self.hidden && rows == self.drawn {
            return if at < seen { self.replace(at, "") } else { String::new() };
        }
        let mut out = self.to_top(height) + &gone;
        self.lines[..seen].iter().for_each(|line| out.push_str(&format!("\x1b[2K{}\n", line.text)));
        if hidden > 0 {
            out.push_str(&format!("\x1b[2K… and {hidden} more\n"));
        }
        (self.hidden, self.drawn) = (hidden, rows);
        out + "\x1b[J"
    }

    /// Writes one line again, and puts the cursor back.
    fn replace(&self, at: usize, before: &str) -> String {
        let up = self.drawn - at;
        format!("{before}\x1b[{up}A\x1b[2K\r{}\r\x1b[{up}B", self.lines[at].text)
    }

    fn to_top(&self, height: usize) -> String {
        match self.drawn.min(height) {
            0 => "\r".to_owned(),
            up => format!("\r\x1b[{up}A"),
        }
    }

    /// Ends the picture: what is below it has nothing to do with it. Lines that did not fit are written now.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        if self.hidden > 0 {
            out = self.to_top(self.drawn);
            self.lines.iter().for_each(|line| out.push_str(&format!("\x1b[2K{}\n", line.text)));
        }
        *self = Self::default();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_api::ProgressDetail;
    use std::time::Duration;

    fn message(id: &str, status: &str, progress: Option<(i64, i64)>) -> JsonMessage {
        let progress_detail =
            progress.map(|(current, total)| ProgressDetail { current, total, ..ProgressDetail::default() });
        JsonMessage { id: id.into(), status: status.into(), progress_detail, ..JsonMessage::default() }
    }

    /// A terminal as small as this test needs one: what is seen of it, and what went out above.
    struct Seen {
        rows: usize,
        above: Vec<String>,
        lines: Vec<String>,
        at: usize,
    }

    impl Seen {
        fn new(rows: usize) -> Self {
            Self { rows, above: Vec::new(), lines: vec![String::new()], at: 0 }
        }

        fn write(&mut self, text: &str) {
            let mut rest = text;
            while let Some(c) = rest.chars().next() {
                rest = &rest[c.len_utf8()..];
                match c {
                    '\n' => {
                        self.at += 1;
                        if self.at == self.lines.len() {
                            self.lines.push(String::new());
                        }
                        if self.lines.len() > self.rows {
                            self.above.push(self.lines.remove(0));
                            self.at -= 1;
                        }
                    }
                    '\r' => {}
                    '\x1b' => {
                        let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                        let n: usize = rest[1..end].parse().unwrap_or(0);
                        match rest.as_bytes()[end] {
                            // The cursor stops at the edges.
                            b'A' => self.at = self.at.saturating_sub(n),
                            b'B' => {
                                self.at = (self.at + n).min(self.rows - 1);
                                while self.lines.len() <= self.at {
                                    self.lines.push(String::new());
                                }
                            }
                            b'K' => self.lines[self.at].clear(),
                            b'J' => self.lines.truncate(self.at + 1),
                            other => panic!("{other}"),
                        }
                        rest = &rest[end + 1..];
                    }
                    c => self.lines[self.at].push(c),
                }
            }
        }

        fn all(&self) -> Vec<&str> {
            self.above.iter().chain(&self.lines).map(String::as_str).filter(|l| !l.is_empty()).collect()
        }
    }

    #[test]
    fn a_file_gets_what_was_done_and_a_terminal_a_line_for_each() {
        let now = Instant::now();
        let mut file = Screen::default();
        let mut show = |m: &JsonMessage| file.show(m, None, now);
        assert_eq!(show(&message("a", "Downloading", Some((1, 2)))), "");
        assert_eq!(show(&message("a", "Pulling fs layer", Some((0, 0)))), "a: Pulling fs layer\n");
        assert_eq!(show(&message("latest", "Pulling from x", None)), "latest: Pulling from x\n");
        assert_eq!(show(&JsonMessage::stream("done\n")), "done\n");

        let mut terminal = Screen::default();
        let mut show = |m: &JsonMessage| terminal.show(m, Some(Size { rows: 24, columns: 80 }), now);
        assert_eq!(show(&message("latest", "Pulling from x", None)), "latest: Pulling from x\n");
        assert_eq!(show(&message("a", "x", Some((0, 0)))), "\n\x1b[1A\x1b[2K\ra: x\r\x1b[1B");
        assert_eq!(show(&message("b", "x", Some((0, 0)))), "\n\x1b[1A\x1b[2K\rb: x\r\x1b[1B");
        assert_eq!(show(&message("a", "y", Some((1, 2)))), "\x1b[2A\x1b[2K\ra: y       1B/2B\r\x1b[2B");
        assert_eq!(show(&message("a", "z", None)), "\x1b[2A\x1b[2K\ra: z\r\x1b[2B");
        assert_eq!(show(&JsonMessage::stream("done\n")), "done\n");
        assert_eq!(show(&message("a", "y", Some((0, 0)))), "\n\x1b[1A\x1b[2K\ra: y\r\x1b[1B");
        let long = show(&message("a", &"w".repeat(200), None));
        assert!(long.contains(&"w".repeat(76)) && !long.contains(&"w".repeat(77)), "{long}");
    }

    #[test]
    fn the_rate_stands_where_there_is_room() {
        let start = Instant::now();
        for (columns, want) in [(200, "1MB/4MB  1MB/s"), (40, "1MB/4MB  1MB/s"), (30, "1MB/4MB")] {
            let mut screen = Screen::default();
            let size = Some(Size { rows: 24, columns });
            screen.show(&message("a", "Downloading", Some((1, 4_000_000))), size, start);
            let later = start + Duration::from_secs(1);
            let text = screen.show(&message("a", "Downloading", Some((1_000_001, 4_000_000))), size, later);
            assert!(text.contains(&format!("{want}\r")), "{columns}: {text:?}");
        }
    }

    /// However many things there are, each line is whole, none is lost, and each is there once in the end.
    #[test]
    fn more_lines_than_rows_do_not_garble() {
        let now = Instant::now();
        for (count, rows) in [(3, 24), (23, 24), (24, 24), (40, 24), (40, 5), (7, 3), (7, 2)] {
            let (mut screen, mut seen) = (Screen::default(), Seen::new(rows));
            let size = Some(Size { rows: rows as u16, columns: 80 });
            seen.write("$ dhow pull x\n");
            let mut say = |seen: &mut Seen, id: &str, status: &str, p: (i64, i64)| {
                seen.write(&screen.show(&message(id, status, Some(p)), size, now));
                if rows > 1 {
                    for line in seen.all() {
                        let whole = line.starts_with("layer") && line.matches(':').count() == 1;
                        assert!(whole || line.starts_with("…") || line.starts_with('$'), "{count} in {rows}: {line:?}");
                    }
                }
            };
            let ids: Vec<String> = (0..count).map(|n| format!("layer{n}")).collect();
            for id in &ids {
                say(&mut seen, id, "Pulling fs layer", (0, 0));
            }
            for step in 1..4 {
                for id in &ids {
                    say(&mut seen, id, "Downloading", (step * 10, 40));
                }
            }
            for id in ids.iter().rev() {
                say(&mut seen, id, "Pull complete", (0, 0));
            }
            seen.write(&screen.finish());
            seen.write("done\n");
            let all = seen.all();
            if rows > 1 {
                let mut last: Vec<_> = all[1..all.len() - 1].to_vec();
                last.sort_unstable();
                let mut want: Vec<String> = ids.iter().map(|id| format!("{id}: Pull complete")).collect();
                want.sort_unstable();
                assert_eq!(last, want, "{count} in {rows}");
            }
            assert_eq!(all.last(), Some(&"done"));
        }
    }
}
