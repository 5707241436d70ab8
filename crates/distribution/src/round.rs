//! In which order endpoints are tried for one thing, and how often: each in turn, then a wait, then again those that
//! might still answer. Pure; the caller does the waiting.

use crate::bounds::Bounds;
use crate::failure::Cause;
use crate::retry;
use std::time::Duration;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Ask this endpoint.
    Ask(usize),
    /// Wait first.
    Wait(Duration),
    /// Nobody is left.
    Over,
}

/// One endpoint's turn.
#[derive(Debug)]
struct Entry {
    endpoint: usize,
    /// It is the plain twin of the one before it.
    twin: bool,
    /// It has answered in this round, by whatever.
    spoke: bool,
    /// Its last failure.
    cause: Option<Cause>,
}

/// The state of it.
#[derive(Debug)]
pub(crate) struct Round {
    /// In their order.
    list: Vec<Entry>,
    at: usize,
    failures: u32,
    /// Whether an endpoint that can't be reached is tried again.
    patient: bool,
}

impl Round {
    /// `list` has endpoints and whether each is the plain twin of the one before it.
    pub(crate) fn new(list: impl IntoIterator<Item = (usize, bool)>, patient: bool) -> Self {
        let entry = |(endpoint, twin)| Entry { endpoint, twin, spoke: false, cause: None };
        Self { list: list.into_iter().map(entry).collect(), at: 0, failures: 0, patient }
    }

    /// The next step.
    pub(crate) fn turn(&mut self, bounds: &Bounds) -> Turn {
        while let Some(entry) = self.list.get(self.at) {
            let before = self.at.checked_sub(1).map(|b| &self.list[b]);
            let skip = (entry.twin && before.is_some_and(|b| b.spoke))
                || entry.cause.as_ref().is_some_and(|c| self.wait(c, bounds).is_none());
            if !skip {
                return Turn::Ask(entry.endpoint);
            }
            self.at += 1;
        }
        self.failures += 1;
        let waits = self.list.iter().filter_map(|e| e.cause.as_ref().and_then(|c| self.wait(c, bounds)));
        match waits.min() {
            Some(wait) => {
                self.at = 0;
                Turn::Wait(wait)
            }
            None => Turn::Over,
        }
    }

    fn wait(&self, cause: &Cause, bounds: &Bounds) -> Option<Duration> {
        match cause {
            Cause::Unreachable(_) if !self.patient => None,
            cause => retry::wait(cause, self.failures.max(1), bounds),
        }
    }

    /// The endpoint whose turn it was failed.
    pub(crate) fn failed(&mut self, cause: Cause) {
        if let Some(entry) = self.list.get_mut(self.at) {
            entry.spoke |= cause.is_answer();
            entry.cause = Some(cause);
        }
        self.at += 1;
    }

    /// Something new came: failures before it do not count any more.
    pub(crate) fn progressed(&mut self) {
        self.failures = 0;
        if let Some(entry) = self.list.get_mut(self.at) {
            entry.spoke = true;
        }
    }

    /// Who failed, and why, in order.
    pub(crate) fn causes(&self) -> Vec<(usize, Cause)> {
        self.list.iter().filter_map(|e| e.cause.clone().map(|c| (e.endpoint, c))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Cause {
        Cause::Broken(String::new())
    }

    #[test]
    fn each_in_turn_then_waits_that_grow() {
        let bounds = Bounds { attempts: 3, first_wait: Duration::from_millis(10), ..Bounds::default() };
        let mut r = Round::new([(0, false), (1, false)], true);
        let refused = Cause::Refused { status: 404, code: String::new(), words: String::new(), retry_after: None };
        let mut seen = Vec::new();
        loop {
            match r.turn(&bounds) {
                Turn::Ask(0) => r.failed(refused.clone()),
                Turn::Ask(_) => r.failed(broken()),
                Turn::Wait(wait) => seen.push(wait.as_millis()),
                Turn::Over => break,
            }
        }
        assert_eq!(seen, [10, 20]);
        assert_eq!(r.causes(), [(0, refused), (1, broken())]);
    }

    #[test]
    fn plain_text_only_if_tls_did_not_answer() {
        let bounds = Bounds { attempts: 1, ..Bounds::default() };
        for (cause, asked) in [
            (Cause::NotTls, true),
            (Cause::Unreachable(String::new()), true),
            (broken(), false),
            (Cause::NoCredentials, false),
        ] {
            let mut r = Round::new([(0, false), (1, true)], false);
            assert_eq!(r.turn(&bounds), Turn::Ask(0));
            r.failed(cause.clone());
            assert_eq!(r.turn(&bounds) == Turn::Ask(1), asked, "{cause:?}");
        }
        // Once TLS gave something, it is not enough to cut it off.
        let bounds = Bounds { attempts: 9, ..bounds };
        let mut r = Round::new([(0, false), (1, true)], true);
        assert_eq!(r.turn(&bounds), Turn::Ask(0));
        r.progressed();
        for cause in [broken(), Cause::Unreachable(String::new()), Cause::NotTls] {
            r.failed(cause);
            match r.turn(&bounds) {
                Turn::Wait(_) => assert_eq!(r.turn(&bounds), Turn::Ask(0)),
                other => assert_eq!(other, Turn::Over),
            }
        }
    }

    #[test]
    fn whom_nobody_reaches_is_asked_again_only_with_patience() {
        for patient in [false, true] {
            let bounds = Bounds { attempts: 2, ..Bounds::default() };
            let mut r = Round::new([(0, false)], patient);
            assert_eq!(r.turn(&bounds), Turn::Ask(0));
            r.failed(Cause::Unreachable(String::new()));
            assert_eq!(matches!(r.turn(&bounds), Turn::Wait(_)), patient);
        }
    }
}
