//! How far a layer is, told not too often.

use crate::pull::Teller;
use crate::view::TransferEvent;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two words about how far it is.
const EVERY: Duration = Duration::from_millis(100);

/// Tells of one layer.
pub(super) struct Shown {
    teller: Teller,
    id: String,
    total: u64,
    last: Mutex<Option<Instant>>,
}

impl Shown {
    pub(super) fn new(teller: &Teller, id: String, total: u64) -> Self {
        Self { teller: teller.clone(), id, total, last: Mutex::new(None) }
    }

    /// So many bytes of the layer are on their way.
    pub(super) fn at(&self, current: u64) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        *last = Some(Instant::now());
        let (id, total) = (self.id.clone(), self.total);
        self.teller.mention(TransferEvent::Progress { id, action: "Pushing", current, total });
    }

    /// Something else happened to it.
    pub(super) async fn status(&self, text: impl Into<String>) {
        self.teller.tell(TransferEvent::status(&self.id, text)).await;
    }

    /// It broke off.
    pub(super) fn retry(&self, wait: Duration) {
        let seconds = wait.as_secs().max(1);
        let text = format!("Retrying in {seconds} second{}", if seconds == 1 { "" } else { "s" });
        self.teller.mention(TransferEvent::status(&self.id, text));
    }
}
