//! What to take back when the rest of a set-up fails: each step registers its undo at once.

use dhow_types::Result;

type Step = (&'static str, Box<dyn FnOnce() -> Result<()> + Send>);

/// Steps to undo, run last first when this is dropped without [`Undo::keep`].
#[derive(Default)]
pub(crate) struct Undo {
    steps: Vec<Step>,
}

impl Undo {
    /// Registers how to take a step back.
    pub(crate) fn add(&mut self, what: &'static str, step: impl FnOnce() -> Result<()> + Send + 'static) {
        self.steps.push((what, Box::new(step)));
    }
    /// The set-up is whole: nothing is taken back.
    pub(crate) fn keep(&mut self) {
        self.steps.clear();
    }
}

impl Drop for Undo {
    /// Goes on after a failure and reports each.
    fn drop(&mut self) {
        for (what, step) in self.steps.drain(..).rev() {
            if let Err(e) = step() {
                tracing::warn!("undo {what}: {e}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::Error;
    use std::sync::{Arc, Mutex};

    #[test]
    fn runs_backwards_and_through_failures() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut undo = Undo::default();
        for i in 0..3 {
            let seen = seen.clone();
            undo.add("step", move || {
                seen.lock().unwrap().push(i);
                if i == 1 { Err(Error::system("no")) } else { Ok(()) }
            });
        }
        drop(undo);
        assert_eq!(*seen.lock().unwrap(), [2, 1, 0]);
        let mut undo = Undo::default();
        undo.add("step", || unreachable!());
        undo.keep();
    }
}
