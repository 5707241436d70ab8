//! Findings of a check as lines.

use dhow_api as api;
use dhow_engine::view::CheckEvent;

/// One event as its line.
pub(crate) fn line(event: CheckEvent) -> api::CheckLine {
    match event {
        CheckEvent::Finding { about, problem, outcome, advice } => api::CheckLine {
            finding: Some(api::CheckFinding { about, problem, outcome: outcome.to_owned(), advice }),
            ..api::CheckLine::default()
        },
        CheckEvent::Done { images, layers, bytes, wrong, mended } => api::CheckLine {
            done: Some(api::CheckDone { images, layers, bytes, wrong, mended }),
            ..api::CheckLine::default()
        },
        CheckEvent::Failed(e) => api::CheckLine { error: Some(e.text().to_owned()), ..api::CheckLine::default() },
    }
}
