//! What a client is told of a layer that flies, in Docker's words.

use super::Teller;
use super::flight::{Flight, Stage, State};
use crate::view::TransferEvent;
use dhow_store::{Hold, WantedLayer};
use dhow_types::Result;
use std::sync::Arc;
use std::time::Duration;

/// Between two words about how far it is.
const EVERY: Duration = Duration::from_millis(100);

/// Tells what becomes of the layer until its flight ends; that is the result.
pub(super) async fn follow(flight: &Flight, layer: &WantedLayer, teller: &Teller) -> Result<Arc<Hold>> {
    let (mut state, mut ends) = (flight.state.clone(), flight.state.clone());
    let mut shown = Shown::new(layer.digest.short(), layer.size);
    loop {
        let now = state.borrow_and_update().clone();
        for event in shown.step(&now) {
            match event {
                TransferEvent::Progress { .. } => teller.mention(event),
                event => teller.tell(event).await,
            }
        }
        if let Some(end) = now.end {
            return end;
        }
        if now.stage > Stage::Waiting {
            // An end is told at once.
            let _ = tokio::time::timeout(EVERY, ends.wait_for(|s| s.end.is_some())).await;
        }
        if state.changed().await.is_err() {
            return Err(dhow_types::Error::system("the transfer of a layer was called off"));
        }
    }
}

/// What was told of a layer.
struct Shown {
    id: String,
    total: u64,
    stage: Option<Stage>,
    /// The last figure of this stage.
    at: u64,
    retry: Option<u64>,
}

impl Shown {
    fn new(id: String, total: u64) -> Self {
        Self { id, total, stage: None, at: 0, retry: None }
    }

    /// What is to be told now. No stage is left out, however quickly it went.
    fn step(&mut self, now: &State) -> Vec<TransferEvent> {
        let mut events = Vec::new();
        let status = |text: &str| TransferEvent::status(&self.id, text);
        let was = self.stage;
        let reached = |stage: Stage| now.stage >= stage && was.is_none_or(|was| was < stage);
        if now.stage == Stage::Waiting && was != Some(Stage::Waiting) {
            events.push(status("Waiting"));
        }
        if reached(Stage::Extracting) {
            events.push(status("Verifying Checksum"));
            events.push(status("Download complete"));
        }
        if let Some(seconds) = now.retry.filter(|_| self.retry != now.retry) {
            events.push(status(&format!("Retrying in {seconds} second{}", if seconds == 1 { "" } else { "s" })));
        }
        self.retry = now.retry;
        let (action, current) = match now.stage {
            Stage::Downloading => ("Downloading", now.received),
            Stage::Extracting => ("Extracting", now.unpacked),
            Stage::Landed => {
                if reached(Stage::Landed) {
                    events.push(status("Pull complete"));
                }
                ("", 0)
            }
            Stage::Begun | Stage::Waiting => ("", 0),
        };
        if !action.is_empty() && now.retry.is_none() && (was != Some(now.stage) || current != self.at) {
            events.push(TransferEvent::Progress { id: self.id.clone(), action, current, total: self.total });
            self.at = current;
        }
        self.stage = Some(now.stage);
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(states: &[State]) -> Vec<String> {
        let mut shown = Shown::new("x".into(), 10);
        let events = states.iter().flat_map(|s| shown.step(s));
        events
            .map(|e| match e {
                TransferEvent::Status { text, .. } => text,
                TransferEvent::Progress { action, current, total, .. } => format!("{action} {current}/{total}"),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn dockers_words_in_dockers_order() {
        let at = |stage, received, unpacked| State { stage, received, unpacked, ..State::default() };
        let all = [
            at(Stage::Begun, 0, 0),
            at(Stage::Waiting, 0, 0),
            at(Stage::Waiting, 0, 0),
            at(Stage::Downloading, 0, 0),
            at(Stage::Downloading, 5, 1),
            at(Stage::Downloading, 5, 2),
            State { retry: Some(2), ..at(Stage::Downloading, 5, 2) },
            State { retry: Some(2), ..at(Stage::Downloading, 5, 2) },
            at(Stage::Downloading, 9, 2),
            at(Stage::Extracting, 10, 8),
            at(Stage::Landed, 10, 10),
        ];
        assert_eq!(
            told(&all),
            [
                "Waiting",
                "Downloading 0/10",
                "Downloading 5/10",
                "Retrying in 2 seconds",
                "Downloading 9/10",
                "Verifying Checksum",
                "Download complete",
                "Extracting 8/10",
                "Pull complete"
            ]
        );
        // Seen only at its end.
        assert_eq!(told(&all[10..]), ["Verifying Checksum", "Download complete", "Pull complete"]);
    }
}
