//! Compiled system call filters, kept by the capabilities they were made for.

use crate::plan::facts::Facts;
use crate::plan::security::SeccompChoice;
use dhow_shim::seccomp::{Arch, KernelVersion, Program, compile, default_profile, from_docker_profile};
use dhow_types::{Context, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Filters kept.
const MAX_KEPT: usize = 16;

/// The kept filters.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    kept: Mutex<HashMap<Vec<String>, Arc<Program>>>,
}

impl Filters {
    /// The filter for a container, or none.
    pub(crate) fn get(&self, choice: &SeccompChoice, caps: &[String], facts: &Facts) -> Result<Option<Arc<Program>>> {
        let kernel = KernelVersion { major: facts.kernel.0, minor: facts.kernel.1 };
        match choice {
            SeccompChoice::Unconfined => Ok(None),
            SeccompChoice::Profile(text) => {
                let document =
                    from_docker_profile(text, caps, Arch::native(), kernel).context("read the seccomp profile")?;
                Ok(Some(Arc::new(compile(&document, Arch::native()).context("compile the seccomp profile")?)))
            }
            SeccompChoice::Builtin => {
                if let Some(program) = self.lock().get(caps) {
                    return Ok(Some(program.clone()));
                }
                let document = default_profile(caps, Arch::native(), kernel);
                let program =
                    Arc::new(compile(&document, Arch::native()).context("compile the default seccomp profile")?);
                let mut kept = self.lock();
                if kept.len() >= MAX_KEPT {
                    kept.clear();
                }
                kept.insert(caps.to_vec(), program.clone());
                Ok(Some(program))
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<String>, Arc<Program>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
