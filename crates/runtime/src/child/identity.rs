//! Who the process becomes: limits, groups, user, capabilities, in the order in which each step can still be taken.

use crate::context::Context;
use crate::plan::ProcessPlan;
use crate::plan::caps::{self, CapSets};
use dhow_sys::exec;
use dhow_types::{Error, Result};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// Sets limits and priorities. What the caller may not raise is clamped, and said.
pub(crate) fn limits(plan: &ProcessPlan, warn: &mut dyn FnMut(String)) -> Result<()> {
    for (number, name, soft, hard) in &plan.rlimits {
        let set = |soft, hard| exec::set_rlimit(*number, soft, hard);
        match set(*soft, *hard) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                let (_, most) = exec::rlimit(*number).with_context(|| format!("read {name}"))?;
                let (soft, clamped) = ((*soft).min(most), (*hard).min(most));
                set(soft, clamped).with_context(|| format!("set {name}"))?;
                warn(format!(
                    "{name}: {hard} is above the runtime's own hard limit and was clamped to {clamped} \
                     (it has no CAP_SYS_RESOURCE)"
                ));
            }
            Err(e) => return Err(e).with_context(|| format!("set {name} to {soft}:{hard}")),
        }
    }
    if let Some(persona) = plan.personality {
        exec::personality(persona).context("set linux.personality")?;
    }
    if let Some(attr) = &plan.scheduler {
        exec::set_scheduler(attr).context("set process.scheduler")?;
    }
    if let Some((class, level)) = plan.io_priority {
        exec::set_io_priority(class, level).context("set process.ioPriority")?;
    }
    Ok(())
}

/// Becomes the user of the document. The permitted set is kept, so that [`drop_capabilities`] can choose from it.
///
/// `groups_locked`: the user namespace denies setgroups.
pub(crate) fn become_user(plan: &ProcessPlan, caps: &CapSets, groups_locked: bool) -> Result<()> {
    set_keep_capabilities(true).context("keep the capabilities over the change of user")?;
    for number in 0..64 {
        let bit = 1u64 << number;
        if caps.bounding & bit != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(()) => {}
            // The kernel's last capability has a smaller number.
            Err(Errno::INVAL) => break,
            // Nothing to drop, and not allowed to: an unprivileged runtime.
            Err(Errno::PERM) if !in_bounding_set(bit) => {}
            Err(e) => return Err(e).with_context(|| format!("drop {} from the bounding set", caps::name(number))),
        }
    }
    // All groups of the caller go, whatever happens (2022-2989 and family).
    let groups: Vec<Gid> = plan.groups.iter().map(|g| Gid::from_raw(*g)).collect();
    match set_thread_groups(&groups) {
        Err(Errno::PERM) if groups_locked && groups.is_empty() => {}
        result => result.context("set process.user.additionalGids")?,
    }
    let gid = Gid::from_raw(plan.gid);
    set_thread_res_gid(gid, gid, gid).with_context(|| format!("become group {} (is it mapped?)", plan.gid))?;
    let uid = Uid::from_raw(plan.uid);
    set_thread_res_uid(uid, uid, uid).with_context(|| format!("become user {} (is it mapped?)", plan.uid))
}

fn in_bounding_set(bit: u64) -> bool {
    capability_is_in_bounding_set(CapabilitySet::from_bits_retain(bit)).unwrap_or(false)
}

/// The document's sets, cut to what this process may give, with a warning for the difference.
pub(crate) fn clamp(plan: &ProcessPlan, warn: &mut dyn FnMut(String)) -> Result<CapSets> {
    let wanted = plan.caps.union();
    let permitted = capabilities(None).context("read the capabilities")?.permitted.bits();
    let mut allowed = permitted;
    for number in 0..caps::COUNT {
        let bit = 1u64 << number;
        if wanted & bit != 0 && allowed & bit != 0 && !in_bounding_set(bit) {
            allowed &= !bit;
        }
    }
    let missing = wanted & !allowed;
    if missing != 0 {
        warn(format!("left out, because the runtime itself does not have them: {}", caps::list(missing)));
    }
    Ok(plan.caps.clamped(allowed))
}

/// Sets all sets but the bounding set. `spare` is kept in permitted and effective until [`drop_spare`].
pub(crate) fn drop_capabilities(caps: &CapSets, spare: u64) -> Result<()> {
    set(caps, spare)?;
    match clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(e) => return Err(e).context("clear the ambient capabilities"),
    }
    for number in (0..64).filter(|n| caps.ambient & (1 << n) != 0) {
        configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true)
            .with_context(|| format!("raise {} in the ambient set", caps::name(number)))?;
    }
    Ok(())
}

/// Drops what was kept for the last steps.
pub(crate) fn drop_spare(caps: &CapSets) -> Result<()> {
    set(caps, 0)
}

fn set(caps: &CapSets, spare: u64) -> Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(caps.effective | spare),
        permitted: CapabilitySet::from_bits_retain(caps.permitted | spare),
        inheritable: CapabilitySet::from_bits_retain(caps.inheritable),
    };
    set_capabilities(None, sets).map_err(|e| {
        Error::from(std::io::Error::from(e)).prefixed(format!(
            "set the capabilities (effective must be among permitted: {})",
            caps::list(caps.permitted)
        ))
    })
}

/// `no_new_privs`, if the document asks for it.
pub(crate) fn no_new_privileges(plan: &ProcessPlan) -> Result<()> {
    if plan.no_new_privileges {
        set_no_new_privs(true).context("set no_new_privs")?;
    }
    Ok(())
}
