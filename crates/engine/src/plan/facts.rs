//! What the plans need to know about the machine, gathered once when the engine opens.

/// Facts about the machine and the daemon.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Controllers there are.
    pub controllers: Vec<String>,
    /// Only the unified hierarchy.
    pub pure_v2: bool,
    /// No hierarchy at all.
    pub no_cgroups: bool,
    /// Swap can be limited.
    pub swap_accounting: bool,
    /// CPUs usable.
    pub cpus: usize,
    /// Capabilities the daemon can hand on, as a mask.
    pub capabilities: u64,
    /// Per-CPU `thermal_throttle` directories that exist.
    pub thermal_throttle: Vec<String>,
    /// Version of the kernel.
    pub kernel: (u32, u32),
    /// The daemon's own OOM score adjustment; a container's 0 must be set only if this isn't.
    pub oom_score_adj: i32,
    /// Name of the machine.
    pub hostname: String,
}

impl Facts {
    /// True if a controller is there.
    pub fn has_controller(&self, name: &str) -> bool {
        self.controllers.iter().any(|c| c == name)
    }
    /// A well equipped machine of two CPUs.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        Self {
            controllers: ["cpu", "cpuset", "memory", "pids", "blkio", "devices"].map(String::from).into(),
            pure_v2: false,
            no_cgroups: false,
            swap_accounting: true,
            cpus: 2,
            capabilities: u64::MAX,
            thermal_throttle: vec![],
            kernel: (6, 18),
            oom_score_adj: 0,
            hostname: "machine".into(),
        }
    }
}
