//! Runs cases, some side by side, and says how each ended; the last line is `test result: …` as libtest writes it.

use crate::Setup;
use crate::daemon::Daemon;
use crate::registry::{Kind, Registry};
use anyhow::Result;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// One test.
pub struct Case {
    /// `module::name`.
    pub name: &'static str,
    /// What it does; an error or a panic is a failure, [`Skip`] is a skip.
    pub run: fn(&World) -> Result<()>,
}

/// What a case is given.
pub struct World {
    /// Paths.
    pub setup: Setup,
    shared: Mutex<Option<Arc<Daemon>>>,
    registry: Mutex<Option<Arc<Registry>>>,
}

impl World {
    /// The daemon that most cases share, with busybox loaded; made at the first call.
    pub fn daemon(&self) -> Result<Arc<Daemon>> {
        let mut shared = self.shared.lock().unwrap();
        if let Some(daemon) = &*shared {
            return Ok(daemon.clone());
        }
        let daemon = Arc::new(Daemon::start(&self.setup)?);
        daemon.load("busybox")?;
        *shared = Some(daemon.clone());
        Ok(daemon)
    }

    /// The plain registry beside that daemon; made at the first call. Cases use repositories of their own in it.
    pub fn registry(&self) -> Result<Arc<Registry>> {
        let daemon = self.daemon()?;
        let mut registry = self.registry.lock().unwrap();
        if let Some(registry) = &*registry {
            return Ok(registry.clone());
        }
        let made = Arc::new(Registry::start(&daemon, Kind::PLAIN)?);
        *registry = Some(made.clone());
        Ok(made)
    }

    /// A daemon for this case alone, with busybox loaded.
    pub fn own_daemon(&self) -> Result<Daemon> {
        let daemon = Daemon::start(&self.setup)?;
        daemon.load("busybox")?;
        Ok(daemon)
    }
}

/// A case that can't run here, and why.
#[derive(Debug)]
pub struct Skip(pub String);

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Ends a case as skipped.
pub fn skip<T>(why: impl Into<String>) -> Result<T> {
    Err(Skip(why.into()).into())
}

/// Runs all and gives the number of failures.
pub fn run(setup: Setup, cases: Vec<Case>, jobs: usize) -> usize {
    let world = World { setup, shared: Mutex::new(None), registry: Mutex::new(None) };
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0)];
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let ended = catch_unwind(AssertUnwindSafe(|| (case.run)(&world)));
                    let took = began.elapsed().as_millis();
                    let (slot, text) = match ended {
                        Ok(Ok(())) => (0, "ok".to_owned()),
                        Ok(Err(e)) => match e.downcast_ref::<Skip>() {
                            Some(Skip(why)) => (2, format!("ignored, {why}")),
                            None => (1, format!("FAILED\n    {}", format!("{e:#}").replace('\n', "\n    "))),
                        },
                        Err(panic) => {
                            let said = panic.downcast_ref::<String>().cloned();
                            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                            (1, format!("FAILED (panic) {}", said.unwrap_or_default()))
                        }
                    };
                    counts[slot].fetch_add(1, Ordering::Relaxed);
                    println!("test {} ... {text} ({took} ms)", case.name);
                }
            });
        }
    });
    drop(world.registry.lock().unwrap().take());
    if let Some(daemon) = world.shared.lock().unwrap().take()
        && let Some(daemon) = Arc::into_inner(daemon)
    {
        drop(daemon);
    }
    let [passed, failed, ignored] = counts.map(AtomicUsize::into_inner);
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out; finished in {:.2}s",
        start.elapsed().as_secs_f64()
    );
    failed
}
