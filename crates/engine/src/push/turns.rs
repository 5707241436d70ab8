//! Who uploads a layer when several pushes want the same one in the same repository: one does, the others wait for
//! their turn, and find that it is there.

use dhow_types::Digest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// A repository with its domain, and a layer.
type Key = (String, Digest);

/// The layers on which somebody works.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    all: Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>,
}

/// A turn; the next one has it when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    key: Key,
    all: Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Whether nobody works on any.
    pub(super) fn are_none(&self) -> bool {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
    /// Waits until nobody else works on the layer.
    pub(super) async fn take(&self, repository: &str, layer: &Digest) -> Turn {
        let key = (repository.to_owned(), *layer);
        let lock = self.all.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().clone();
        // Made before it is waited for: who gives up waiting clears up, too.
        let mut turn = Turn { key, all: self.all.clone(), guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // One more is held by everybody who waits.
        if all.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_after_the_other_and_nothing_stays() {
        let turns = Turns::default();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let first = turns.take("r", &a).await;
        let other = turns.take("r", &b).await;
        let elsewhere = turns.take("s", &a).await;
        let mut second = Box::pin(turns.take("r", &a));
        assert!(futures_pending(&mut second).await);
        drop(first);
        let second = second.await;
        let mut third = Box::pin(turns.take("r", &a));
        assert!(futures_pending(&mut third).await);
        drop(third);
        drop((second, other, elsewhere));
        assert!(turns.all.lock().unwrap().is_empty());
    }

    /// Whether it is not ready when it is asked once.
    async fn futures_pending<T>(future: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }
}
