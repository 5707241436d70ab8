//! Which file gets which value: `Resources` and the machine's controllers in, a list of writes out. Pure.
//!
//! Each controller is planned for the kind of hierarchy that holds it, because on a hybrid machine some are on v1 and
//! some on v2. What no hierarchy holds is not planned here; `missing` has named it before.
//! The conversions and the order of writes are runc's, so that limits mean the same.

mod v1;
mod v2;

use dhow_types::{Error, Result};

use crate::layout::Version;
use crate::resources::{HugepageLimit, Memory, Resources};

/// The most raw v2 files one document may set, and how long each value may be.
const MAX_UNIFIED: usize = 64;
const MAX_UNIFIED_VALUE: usize = 4096;

/// What to do where the file is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The limit can't be enforced: an error.
    Fail,
    /// Without the file the kernel already does what the value asks.
    Skip,
    /// Another file means the same.
    Other(String, String),
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// The controller, which says in which hierarchy the file is.
    pub(crate) controller: String,
    /// The field of the document, for messages.
    pub(crate) field: String,
    pub(crate) file: String,
    pub(crate) value: String,
    pub(crate) absent: Absent,
    /// An `EINVAL` may come from a sibling that is not written yet: try again after the rest of the controller.
    pub(crate) retry: bool,
    /// A raw file: always on the v2 hierarchy, wherever the controller is.
    pub(crate) raw: bool,
}

/// What the group has now; the default is a fresh group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Now {
    /// The first word of v2's `cpu.max`.
    pub(crate) v2_quota: Option<String>,
    /// v1's `memory.limit_in_bytes`.
    pub(crate) v1_memory_limit: Option<u64>,
    /// Memory in use.
    pub(crate) memory_usage: Option<u64>,
}

/// The writes under construction.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) writes: Vec<Write>,
}

impl Plan {
    fn push(&mut self, controller: &str, field: &str, file: impl Into<String>, value: impl ToString) -> &mut Write {
        let at = self.writes.len();
        self.writes.push(Write {
            controller: controller.into(),
            field: field.into(),
            file: file.into(),
            value: value.to_string(),
            absent: Absent::Fail,
            retry: false,
            raw: false,
        });
        &mut self.writes[at]
    }
}

/// The writes that bring a group from `now` to `r`, in order.
pub(crate) fn writes(r: &Resources, version: &dyn Fn(&str) -> Option<Version>, now: &Now) -> Result<Vec<Write>> {
    let mut plan = Plan::default();
    if let Some(m) = &r.memory {
        check_memory(m, now)?;
        match version("memory") {
            Some(Version::V2) => v2::memory(&mut plan, m)?,
            Some(Version::V1) => v1::memory(&mut plan, m, now)?,
            None => {}
        }
    }
    if let Some(c) = &r.cpu {
        match version("cpu") {
            Some(Version::V2) => v2::cpu(&mut plan, c, now)?,
            Some(Version::V1) => v1::cpu(&mut plan, c)?,
            None => {}
        }
        for (field, file, list) in [("cpu.cpus", "cpuset.cpus", &c.cpus), ("cpu.mems", "cpuset.mems", &c.mems)] {
            if !list.is_empty() {
                crate::cpulist::check(field, list)?;
                if version("cpuset").is_some() {
                    plan.push("cpuset", field, file, list);
                }
            }
        }
    }
    if let (Some(limit), Some(_)) = (r.pids.as_ref().and_then(|p| p.limit), version("pids")) {
        // The kernel takes 0 but then not even the first process can be born into the group.
        let value = if limit < 0 { "max".to_string() } else { limit.max(1).to_string() };
        plan.push("pids", "pids.limit", "pids.max", value);
    }
    if let Some(b) = &r.block_io {
        if version("io").is_some() {
            v2::io(&mut plan, b)?;
        } else if version("blkio").is_some() {
            v1::blkio(&mut plan, b)?;
        }
    }
    for limit in &r.hugepage_limits {
        check_page_size(limit)?;
        if let Some(version) = version("hugetlb") {
            hugetlb(&mut plan, limit, version);
        }
    }
    if let Some(n) = &r.network {
        v1::network(&mut plan, n, version)?;
    }
    for (device, limits) in &r.rdma {
        if device.is_empty() || device.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Error::invalid(format!("rdma: {device:?} is not the name of a device")));
        }
        let number = |n: Option<u32>| n.map_or_else(|| "max".to_string(), |n| n.to_string());
        let (handles, objects) = (number(limits.hca_handles), number(limits.hca_objects));
        if version("rdma").is_some() {
            plan.push("rdma", "rdma", "rdma.max", format!("{device} hca_handle={handles} hca_object={objects}"));
        }
    }
    v2::unified(&mut plan, r)?;
    Ok(plan.writes)
}

fn check_memory(m: &Memory, now: &Now) -> Result<()> {
    for (field, value) in [
        ("memory.limit", m.limit),
        ("memory.reservation", m.reservation),
        ("memory.swap", m.swap),
        ("memory.kernelTCP", m.kernel_tcp),
    ] {
        crate::convert::size(field, value)?;
    }
    if let Some(s) = m.swappiness.filter(|s| *s > 100) {
        return Err(Error::invalid(format!("memory.swappiness: {s} is not in the range from 0 to 100")));
    }
    if m.use_hierarchy == Some(false) {
        return Err(Error::invalid("memory.useHierarchy: the kernel always counts children towards their parent"));
    }
    if let (Some(true), Some(limit), Some(usage)) =
        (m.check_before_update, m.limit.filter(|l| *l > 0), now.memory_usage)
        && usage > limit.unsigned_abs()
    {
        return Err(Error::invalid(format!(
            "memory.limit: {limit} is less than the {usage} bytes in use, and checkBeforeUpdate is set"
        )));
    }
    Ok(())
}

/// A size as in the kernel's file names: `64KB`, `2MB`, `1GB`.
fn check_page_size(limit: &HugepageLimit) -> Result<()> {
    let size = &limit.page_size;
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit)).unwrap_or("");
    let good = !digits.is_empty()
        && digits.len() <= 6
        && !digits.starts_with('0')
        && digits.bytes().all(|b| b.is_ascii_digit());
    if good { Ok(()) } else { Err(Error::invalid(format!("hugepageLimits: {size:?} is not a page size like 2MB"))) }
}

fn hugetlb(plan: &mut Plan, limit: &HugepageLimit, version: Version) {
    let end = if version == Version::V2 { "max" } else { "limit_in_bytes" };
    let size = &limit.page_size;
    plan.push("hugetlb", "hugepageLimits", format!("hugetlb.{size}.{end}"), limit.limit);
    // Reservations count too where the kernel counts them (5.7), or a mapping could fail late with SIGBUS.
    plan.push("hugetlb", "hugepageLimits", format!("hugetlb.{size}.rsvd.{end}"), limit.limit).absent = Absent::Skip;
}

#[cfg(test)]
mod tests;
