//! What a container's task does later by itself. Nothing is allocated, and no clock runs, while nothing is due.
//!
//! Whoever wants something done later writes the moment into [`Agenda`], under the container's lock and from the task
//! itself: the task looks there each time before it waits. A restart of the daemon forgets these moments; what must
//! outlast it stands in the record.

use std::pin::Pin;
use tokio::time::{Instant, Sleep, sleep_until};

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The wait before a restart is over.
    Restart,
}

/// When what is due.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    pub(super) restart: Option<Instant>,
}

impl Agenda {
    /// What comes first.
    fn next(&self) -> Option<(Instant, Timer)> {
        let all = [(self.restart, Timer::Restart)];
        all.into_iter().filter_map(|(at, timer)| Some((at?, timer))).min_by_key(|(at, _)| *at)
    }

    /// Takes out what rang.
    pub(super) fn take(&mut self, timer: Timer) {
        match timer {
            Timer::Restart => self.restart = None,
        }
    }
}

/// The clock of one task.
#[derive(Default)]
pub(super) struct Clock {
    set: Option<(Timer, Pin<Box<Sleep>>)>,
}

impl Clock {
    /// Sets it to what comes first.
    pub(super) fn set(&mut self, agenda: &Agenda) {
        self.set = match (agenda.next(), self.set.take()) {
            (Some((at, timer)), Some((_, mut sleep))) => {
                if sleep.deadline() != at {
                    sleep.as_mut().reset(at);
                }
                Some((timer, sleep))
            }
            (Some((at, timer)), None) => Some((timer, Box::pin(sleep_until(at)))),
            (None, _) => None,
        };
    }

    /// Waits until it rings; for ever, if it is not set. Nothing is lost when the wait is given up.
    pub(super) async fn rings(&mut self) -> Timer {
        match &mut self.set {
            Some((timer, sleep)) => {
                sleep.as_mut().await;
                *timer
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn rings_for_what_comes_first_and_only_if_set() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let silent = async |clock: &mut Clock| tokio::time::timeout(Duration::ZERO, clock.rings()).await.is_err();
            let mut clock = Clock::default();
            let mut agenda = Agenda::default();
            clock.set(&agenda);
            assert!(silent(&mut clock).await);
            agenda.restart = Some(Instant::now() + Duration::from_secs(3600));
            clock.set(&agenda);
            assert!(silent(&mut clock).await);
            // Put forward, it rings.
            agenda.restart = Some(Instant::now());
            clock.set(&agenda);
            assert_eq!(clock.rings().await, Timer::Restart);
            agenda.take(Timer::Restart);
            clock.set(&agenda);
            assert!(silent(&mut clock).await);
        });
    }
}
