//! Those who wait for a container's end.

use crate::config::WaitCondition;
use crate::view::WaitResult;
use tokio::sync::oneshot;

/// Most waits on one container.
const MAX_WAITS: usize = 10_000;

/// The list of waits on one container.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    list: Vec<(WaitCondition, oneshot::Sender<WaitResult>)>,
}

impl Waits {
    /// Registers one. `None` if there are too many.
    pub(crate) fn register(&mut self, condition: WaitCondition) -> Option<oneshot::Receiver<WaitResult>> {
        if self.list.len() >= MAX_WAITS {
            // Clients that left make room.
            self.list.retain(|(_, tx)| !tx.is_closed());
        }
        if self.list.len() >= MAX_WAITS {
            return None;
        }
        let (tx, rx) = oneshot::channel();
        self.list.push((condition, tx));
        Some(rx)
    }

    /// The container stopped: all but those who wait for its removal are served.
    pub(crate) fn exited(&mut self, result: &WaitResult) {
        let (stay, served) =
            std::mem::take(&mut self.list).into_iter().partition(|(c, _)| *c == WaitCondition::Removed);
        self.list = stay;
        serve(served, result);
    }

    /// A start failed that came of nothing: who waits for the next end waits for that of a run.
    pub(crate) fn did_not_start(&mut self, result: &WaitResult) {
        let (served, stay) =
            std::mem::take(&mut self.list).into_iter().partition(|(c, _)| *c == WaitCondition::NotRunning);
        self.list = stay;
        serve(served, result);
    }

    /// The container is gone, or can't be removed by itself: all are served.
    pub(crate) fn removed(&mut self, result: &WaitResult) {
        serve(std::mem::take(&mut self.list), result);
    }
}

fn serve(list: Vec<(WaitCondition, oneshot::Sender<WaitResult>)>, result: &WaitResult) {
    for (_, tx) in list {
        let _ = tx.send(result.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_ends_when_it_should() {
        let all = [WaitCondition::NotRunning, WaitCondition::NextExit, WaitCondition::Removed];
        let failed = WaitResult { code: 127, error: Some("no such program".into()) };
        let mut waits = Waits::default();
        let mut rx = all.map(|c| waits.register(c).unwrap());
        waits.did_not_start(&failed);
        assert_eq!(rx[0].try_recv().unwrap(), failed);
        assert!(rx[1].try_recv().is_err() && rx[2].try_recv().is_err());
        let mut waits = Waits::default();
        let mut rx = all.map(|c| waits.register(c).unwrap());
        let result = WaitResult { code: 3, error: None };
        waits.exited(&result);
        assert_eq!(rx[0].try_recv().unwrap(), result);
        assert_eq!(rx[1].try_recv().unwrap(), result);
        assert!(rx[2].try_recv().is_err());
        waits.removed(&result);
        assert_eq!(rx[2].try_recv().unwrap(), result);
    }
}
