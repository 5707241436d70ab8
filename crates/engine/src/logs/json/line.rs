//! One line of a log: an object with text, stream, time, and perhaps labels and variables.

use crate::logs::frames::{Frames, Piece};
use jiff::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Time<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

/// Gives one line on. False: nothing later was asked for.
pub(super) fn select(line: &[u8], frames: &mut Frames) -> bool {
    // Damage in the middle (a power cut) costs its line, not the log.
    let Ok(parsed) = serde_json::from_slice::<Line<'_>>(line) else { return true };
    let stream = if parsed.stream == "stderr" { 2 } else { 1 };
    let time = nanoseconds(&parsed.time).unwrap_or(0);
    let attrs = if frames.with_details() {
        serde_json::from_slice::<Details>(line).map(|line| line.attrs).unwrap_or_default()
    } else {
        BTreeMap::new()
    };
    // As in Docker, each piece of a long line is a line here.
    frames.add(&Piece { stream, time, continued: false, text: parsed.log.as_bytes(), attrs: &attrs })
}

/// When a line was written.
pub(super) fn time(line: &[u8]) -> Option<i64> {
    nanoseconds(&serde_json::from_slice::<Time<'_>>(line).ok()?.time)
}

/// As it is written there.
pub(super) fn time_text(line: &[u8]) -> Option<String> {
    Some(serde_json::from_slice::<Time<'_>>(line).ok()?.time.into_owned())
}

pub(super) fn nanoseconds(text: &str) -> Option<i64> {
    i64::try_from(text.parse::<Timestamp>().ok()?.as_nanosecond()).ok()
}
