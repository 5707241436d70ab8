//! What `update` makes of a container's limits: Docker's rules for what may be changed to what, and what the kernel is
//! then told. Zero, empty and absent leave a limit as it is.

use super::facts::Facts;
use super::resources;
use crate::config::{Resources, RestartPolicy};
use dhow_shim::spec;
use dhow_types::{Error, Result};

/// A change of limits, found good.
#[derive(Debug)]
pub(crate) struct Change {
    /// All limits as they are afterwards.
    pub(crate) merged: Resources,
    /// What this machine can't do, and what was left out for it.
    pub(crate) warnings: Vec<String>,
    /// Which kinds of limits change.
    kinds: Kinds,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kinds {
    memory: bool,
    cpu: bool,
    pids: bool,
    block: bool,
}

impl Kinds {
    fn of(want: &Resources) -> Self {
        let lists = [
            &want.blkio_device_read_bps,
            &want.blkio_device_write_bps,
            &want.blkio_device_read_iops,
            &want.blkio_device_write_iops,
        ];
        Self {
            memory: want.memory != 0
                || want.memory_swap != 0
                || want.memory_reservation != 0
                || want.memory_swappiness.is_some_and(|s| s >= 0)
                || want.oom_kill_disable.is_some(),
            cpu: want.nano_cpus != 0
                || want.cpu_period != 0
                || want.cpu_quota != 0
                || want.cpu_shares != 0
                || want.cpu_realtime_period != 0
                || want.cpu_realtime_runtime != 0
                || !want.cpuset_cpus.is_empty()
                || !want.cpuset_mems.is_empty(),
            pids: want.pids_limit.is_some(),
            block: want.blkio_weight != 0
                || !want.blkio_weight_device.is_empty()
                || lists.iter().any(|list| !list.is_empty()),
        }
    }
}

impl Change {
    /// Whether the kernel is to be told anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.kinds == Kinds::default()
    }

    /// What the kernel is told, out of all limits in `all`. Of each kind that changes all is said, because some belong
    /// together (memory and swap).
    pub(crate) fn of(&self, all: &Resources, number: &dyn Fn(&str) -> Result<(i64, i64)>) -> Result<spec::Resources> {
        let mut told = resources::oci(all, number)?;
        if !self.kinds.memory {
            told.memory = None;
        } else if all.oom_kill_disable == Some(false) {
            told.memory.get_or_insert_default().disable_oom_killer = Some(false);
        }
        if !self.kinds.cpu {
            told.cpu = None;
        }
        told.pids = match self.kinds.pids {
            // At a start no limit need not be said; here it takes one away.
            true if all.pids_limit.is_none_or(|n| n <= 0) => {
                let mut pids = told.pids.unwrap_or_default();
                pids.limit = Some(-1);
                Some(pids)
            }
            true => told.pids,
            false => None,
        };
        if !self.kinds.block {
            told.block_io = None;
        }
        Ok(told)
    }
}

/// What becomes of `have`.
pub(crate) fn limits(have: &Resources, want: &Resources, facts: &Facts) -> Result<Change> {
    refuse(want)?;
    let mut want = want.clone();
    let no_conflict = |both: bool, text: &str| {
        if both { Err(Error::conflict(format!("Conflicting options: {text}"))) } else { Ok(()) }
    };
    // Here swap may be changed alone, as there can be a limit already.
    let alone = Resources { memory_swap: if want.memory == 0 { 0 } else { want.memory_swap }, ..want.clone() };
    resources::check(&alone)?;
    if want.memory_swap < -1 {
        return Err(Error::invalid("invalid memory-swap limit: use -1 for no limit"));
    }
    let (nano, period, quota) = (have.nano_cpus > 0, have.cpu_period > 0, have.cpu_quota > 0);
    no_conflict(want.nano_cpus > 0 && period, "Nano CPUs cannot be updated as CPU Period has already been set")?;
    no_conflict(want.nano_cpus > 0 && quota, "Nano CPUs cannot be updated as CPU Quota has already been set")?;
    no_conflict(want.cpu_period > 0 && nano, "CPU Period cannot be updated as NanoCPUs has already been set")?;
    no_conflict(want.cpu_quota > 0 && nano, "CPU Quota cannot be updated as NanoCPUs has already been set")?;
    if want.memory > 0 && want.memory_swap == 0 {
        if have.memory_swap > 0 && want.memory > have.memory_swap {
            return Err(Error::conflict(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            ));
        }
        // Without one, it is what `run` would have made of the new limit.
        want.memory_swap = have.memory_swap;
    }
    let mut warnings = Vec::new();
    if want.memory == 0 && want.memory_swap != 0 && !facts.swap_accounting {
        warnings.push(resources::NO_SWAP.to_owned());
        want.memory_swap = 0;
    }
    let swap_alone = (want.memory == 0).then_some(want.memory_swap);
    warnings.extend(resources::adapt(&mut want, facts)?);
    if let Some(swap) = swap_alone {
        want.memory_swap = swap;
    }
    let kinds = Kinds::of(&want);
    let merged = merge(have.clone(), want);
    if merged.memory_swap > 0 && merged.memory_swap < merged.memory {
        return Err(Error::invalid("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    if merged.memory_swap > 0 && merged.memory == 0 {
        return Err(Error::invalid("You should always set the Memory limit when using Memoryswap limit, see usage"));
    }
    Ok(Change { merged, warnings, kinds })
}

/// What is fixed at the start. Docker ignores it here; nothing is ignored by dhow.
fn refuse(want: &Resources) -> Result<()> {
    for (set, what) in [
        (!want.devices.is_empty(), "Devices"),
        (!want.device_cgroup_rules.is_empty(), "DeviceCgroupRules"),
        (want.device_requests > 0, "DeviceRequests"),
        (!want.ulimits.is_empty(), "Ulimits"),
        (!want.cgroup_parent.is_empty(), "CgroupParent"),
        (want.kernel_memory_tcp != 0, "KernelMemoryTCP"),
    ] {
        if set {
            return Err(Error::invalid(format!("{what} can't be updated: it is fixed when a container is made")));
        }
    }
    Ok(())
}

fn merge(mut have: Resources, want: Resources) -> Resources {
    macro_rules! take {
        ($($field:ident if $set:expr;)*) => {$({
            let set: fn(&Resources) -> bool = $set;
            if set(&want) {
                have.$field = want.$field.clone();
            }
        })*};
    }
    take! {
        cpu_shares if |w| w.cpu_shares != 0;
        memory if |w| w.memory != 0;
        nano_cpus if |w| w.nano_cpus != 0;
        blkio_weight if |w| w.blkio_weight != 0;
        blkio_weight_device if |w| !w.blkio_weight_device.is_empty();
        blkio_device_read_bps if |w| !w.blkio_device_read_bps.is_empty();
        blkio_device_write_bps if |w| !w.blkio_device_write_bps.is_empty();
        blkio_device_read_iops if |w| !w.blkio_device_read_iops.is_empty();
        blkio_device_write_iops if |w| !w.blkio_device_write_iops.is_empty();
        cpu_period if |w| w.cpu_period != 0;
        cpu_quota if |w| w.cpu_quota != 0;
        cpu_realtime_period if |w| w.cpu_realtime_period != 0;
        cpu_realtime_runtime if |w| w.cpu_realtime_runtime != 0;
        cpuset_cpus if |w| !w.cpuset_cpus.is_empty();
        cpuset_mems if |w| !w.cpuset_mems.is_empty();
        memory_reservation if |w| w.memory_reservation != 0;
        memory_swap if |w| w.memory_swap != 0;
        memory_swappiness if |w| w.memory_swappiness.is_some_and(|s| s >= 0);
        oom_kill_disable if |w| w.oom_kill_disable.is_some();
        pids_limit if |w| w.pids_limit.is_some();
    }
    have
}

/// Whether a container may get this policy now.
pub(crate) fn policy(want: &RestartPolicy, auto_remove: bool) -> Result<()> {
    super::restart::check(want)?;
    if auto_remove && !super::restart::is_none(want) {
        return Err(Error::conflict(
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    fn resources(change: fn(&mut Resources)) -> Resources {
        let mut r = Resources::default();
        change(&mut r);
        r
    }

    #[test]
    fn what_is_set_decides_what_may_be_set() {
        type Set = fn(&mut Resources);
        let rows: &[(Set, Set, &str)] = &[
            (|h| h.cpu_period = 5000, |w| w.nano_cpus = 1_000_000_000, "Nano CPUs cannot be updated as CPU Period has"),
            (|h| h.cpu_quota = 5000, |w| w.nano_cpus = 1_000_000_000, "Nano CPUs cannot be updated as CPU Quota has"),
            (|h| h.nano_cpus = 1, |w| w.cpu_period = 5000, "CPU Period cannot be updated as NanoCPUs has already"),
            (|h| h.nano_cpus = 1, |w| w.cpu_quota = 5000, "CPU Quota cannot be updated as NanoCPUs has already"),
            (
                |h| (h.memory, h.memory_swap) = (64 * MIB, 128 * MIB),
                |w| w.memory = 200 * MIB,
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap",
            ),
            (|h| h.memory = 64 * MIB, |w| w.memory_swap = 32 * MIB, "Minimum memoryswap limit should be larger"),
            (|_| {}, |w| w.memory_swap = 32 * MIB, "You should always set the Memory limit"),
            (|_| {}, |w| w.memory = 1, "Minimum memory limit allowed is 6MB"),
            (|_| {}, |w| w.device_requests = 1, "DeviceRequests can't be updated"),
            (|_| {}, |w| w.cgroup_parent = "/x".into(), "CgroupParent can't be updated"),
        ];
        for (have, want, text) in rows {
            let e = limits(&resources(*have), &resources(*want), &Facts::for_tests()).expect_err(text);
            assert!(e.text().contains(text), "{text}: {e}");
        }
    }

    #[test]
    fn what_is_not_named_stays_and_only_what_changes_is_told() {
        let have = resources(|h| {
            (h.memory, h.memory_swap, h.cpu_shares) = (64 * MIB, 128 * MIB, 512);
            h.pids_limit = Some(10);
        });
        let want = resources(|w| w.memory = 100 * MIB);
        let change = limits(&have, &want, &Facts::for_tests()).unwrap();
        assert_eq!(change.merged, Resources { memory: 100 * MIB, ..have.clone() });
        let told = change.of(&change.merged, &|_| Ok((0, 0))).unwrap();
        let memory = told.memory.unwrap();
        assert_eq!((memory.limit, memory.swap), (Some(100 * MIB), Some(128 * MIB)));
        assert!(told.cpu.is_none() && told.pids.is_none() && told.block_io.is_none());
        // Pids: no limit is something to say.
        let change = limits(&have, &resources(|w| w.pids_limit = Some(0)), &Facts::for_tests()).unwrap();
        assert_eq!(change.of(&change.merged, &|_| Ok((0, 0))).unwrap().pids.unwrap().limit, Some(-1));
        assert!(limits(&have, &Resources::default(), &Facts::for_tests()).unwrap().is_empty());
    }

    #[test]
    fn a_first_limit_brings_its_swap_and_unlimited_swap_stays() {
        let first = limits(&Resources::default(), &resources(|w| w.memory = 64 * MIB), &Facts::for_tests()).unwrap();
        assert_eq!((first.merged.memory, first.merged.memory_swap), (64 * MIB, 128 * MIB));
        let have = resources(|h| (h.memory, h.memory_swap) = (64 * MIB, -1));
        let more = limits(&have, &resources(|w| w.memory = 512 * MIB), &Facts::for_tests()).unwrap();
        assert_eq!((more.merged.memory, more.merged.memory_swap), (512 * MIB, -1));
        let facts = Facts { swap_accounting: false, ..Facts::for_tests() };
        let alone = limits(&have, &resources(|w| w.memory_swap = 128 * MIB), &facts).unwrap();
        assert!(alone.is_empty() && alone.warnings.len() == 1 && alone.merged == have);
    }

    #[test]
    fn policies() {
        let named = |name: &str| RestartPolicy { name: name.into(), maximum_retry_count: 0 };
        assert!(policy(&named("always"), true).unwrap_err().text().contains("because AutoRemove is enabled"));
        assert!(policy(&named("no"), true).is_ok() && policy(&named("always"), false).is_ok());
        assert!(policy(&named("x"), false).is_err());
    }
}
