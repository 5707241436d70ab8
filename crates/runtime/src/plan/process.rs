//! The container's program: strings, identity, limits. Pure.

use super::caps::CapSets;
use crate::spec::{Process, Rlimit, Scheduler};
use dhow_sys::exec::{CStringArray, SchedAttr};
use dhow_types::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::path::PathBuf;

/// The search path of a program without `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bounds, the kernel's own or far above use.
const MAX_GROUPS: usize = 65536;
const MAX_RLIMITS: usize = 64;

/// Everything about the program.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    /// What to look for: the first argument.
    pub program: String,
    pub args: CStringArray,
    /// As plain text too, for adding HOME.
    pub env: Vec<String>,
    /// The search path.
    pub path: String,
    pub cwd: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub umask: u32,
    pub caps: CapSets,
    pub no_new_privileges: bool,
    /// `(number, name, soft, hard)`.
    pub rlimits: Vec<(u32, String, u64, u64)>,
    pub oom_score_adj: Option<i32>,
    pub personality: Option<u32>,
    pub io_priority: Option<(u16, u16)>,
    pub scheduler: Option<SchedAttr>,
    pub apparmor: Option<String>,
}

impl ProcessPlan {
    pub(crate) fn new(process: &Process, personality: Option<u32>, warnings: &mut Vec<String>) -> Result<Self> {
        let nul = |what: &str| Error::invalid(format!("process.{what} has a NUL byte"));
        let Some(program) = process.args.first() else { return Err(Error::invalid("process.args is empty")) };
        if program.is_empty() {
            return Err(Error::new(ErrorKind::CommandNotFound, "exec: \"\": executable file not found in $PATH"));
        }
        if !process.cwd.starts_with('/') {
            return Err(Error::invalid(format!("process.cwd {:?} is not an absolute path", process.cwd)));
        }
        if process.selinux_label.as_deref().is_some_and(|l| !l.is_empty()) {
            return Err(Error::not_implemented("process.selinuxLabel is not supported by this runtime"));
        }
        if process.exec_cpu_affinity.is_some() {
            return Err(Error::not_implemented("process.execCPUAffinity is not supported by this runtime"));
        }
        if process.oom_score_adj.is_some_and(|n| !(-1000..=1000).contains(&n)) {
            return Err(Error::invalid("process.oomScoreAdj is not between -1000 and 1000"));
        }
        let user = &process.user;
        // -1 means "leave it" to the kernel, and a wrapped number could come out as 0 (2024-40635, 2026-30892).
        if [user.uid, user.gid].iter().chain(&user.additional_gids).any(|id| *id == u32::MAX) {
            return Err(Error::invalid("process.user: 4294967295 is not a user or group id"));
        }
        if user.additional_gids.len() > MAX_GROUPS {
            return Err(Error::invalid(format!("process.user.additionalGids: more than {MAX_GROUPS} groups")));
        }
        let env = dedup(&process.env)?;
        let path = env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH).to_owned();
        Ok(Self {
            program: program.clone(),
            args: CStringArray::new(process.args.iter().map(String::as_str)).map_err(|_| nul("args"))?,
            path,
            env,
            cwd: PathBuf::from(&process.cwd),
            uid: user.uid,
            gid: user.gid,
            groups: user.additional_gids.clone(),
            umask: user.umask.unwrap_or(0o022) & 0o777,
            caps: CapSets::parse(process.capabilities.as_ref(), warnings),
            no_new_privileges: process.no_new_privileges,
            rlimits: rlimits(&process.rlimits)?,
            oom_score_adj: process.oom_score_adj,
            personality,
            io_priority: process.io_priority.as_ref().map(|p| io_priority(&p.class, p.priority)).transpose()?,
            scheduler: process.scheduler.as_ref().map(scheduler).transpose()?,
            apparmor: process.apparmor_profile.clone().filter(|p| !p.is_empty() && p != "unconfined"),
        })
    }

    /// The environment as execve wants it, with `HOME` added when the document has none.
    pub(crate) fn environment(&self, home: Option<&str>) -> Result<CStringArray> {
        let home = home.map(|h| format!("HOME={h}"));
        CStringArray::new(self.env.iter().map(String::as_str).chain(home.as_deref()))
            .map_err(|_| Error::invalid("process.env has a NUL byte"))
    }

    pub(crate) fn has_home(&self) -> bool {
        self.env.iter().any(|e| e.strip_prefix("HOME=").is_some_and(|h| !h.is_empty()))
    }
}

/// One value per name: the last given, at the place of the first, as shells and runc see it. An empty HOME is dropped.
fn dedup(env: &[String]) -> Result<Vec<String>> {
    let mut list: Vec<String> = Vec::with_capacity(env.len());
    let mut at: HashMap<&str, usize> = HashMap::new();
    for entry in env {
        let Some((name, value)) = entry.split_once('=') else {
            return Err(Error::invalid(format!("process.env: {entry:?} has no \"=\"")));
        };
        if name.is_empty() || entry.contains('\0') {
            return Err(Error::invalid(format!("process.env: {entry:?} has no name, or a NUL byte")));
        }
        if name == "HOME" && value.is_empty() {
            continue;
        }
        match at.get(name) {
            Some(index) => list[*index].clone_from(entry),
            None => {
                at.insert(name, list.len());
                list.push(entry.clone());
            }
        }
    }
    Ok(list)
}

/// The kernel's numbers (asm-generic/resource.h; the same on x86_64 and aarch64).
const RLIMITS: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

fn rlimits(list: &[Rlimit]) -> Result<Vec<(u32, String, u64, u64)>> {
    if list.len() > MAX_RLIMITS {
        return Err(Error::invalid(format!("process.rlimits: more than {MAX_RLIMITS} entries")));
    }
    let mut done: Vec<(u32, String, u64, u64)> = Vec::new();
    for limit in list {
        let number = limit.kind.strip_prefix("RLIMIT_").and_then(|n| RLIMITS.iter().position(|r| *r == n));
        let Some(number) = number else {
            return Err(Error::invalid(format!("process.rlimits: {:?} is unknown", limit.kind)));
        };
        if done.iter().any(|(n, ..)| *n as usize == number) {
            return Err(Error::invalid(format!("process.rlimits: {} is given twice", limit.kind)));
        }
        if limit.soft > limit.hard {
            return Err(Error::invalid(format!("process.rlimits: {}: soft is above hard", limit.kind)));
        }
        done.push((number as u32, limit.kind.clone(), limit.soft, limit.hard));
    }
    Ok(done)
}

fn io_priority(class: &str, priority: i32) -> Result<(u16, u16)> {
    let number = match class {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => return Err(Error::invalid(format!("process.ioPriority.class {other:?} is unknown"))),
    };
    if !(0..=7).contains(&priority) {
        return Err(Error::invalid(format!("process.ioPriority.priority {priority} is not between 0 and 7")));
    }
    Ok((number, priority as u16))
}

fn scheduler(s: &Scheduler) -> Result<SchedAttr> {
    let policy = match s.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => return Err(Error::invalid(format!("process.scheduler.policy {other:?} is unknown"))),
    };
    let mut flags = 0;
    for flag in &s.flags {
        flags |= match flag.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x01,
            "SCHED_FLAG_RECLAIM" => 0x02,
            "SCHED_FLAG_DL_OVERRUN" => 0x04,
            "SCHED_FLAG_KEEP_POLICY" => 0x08,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            other => return Err(Error::invalid(format!("process.scheduler.flags: {other:?} is not supported"))),
        };
    }
    if !(-20..=19).contains(&s.nice) {
        return Err(Error::invalid(format!("process.scheduler.nice {} is not between -20 and 19", s.nice)));
    }
    Ok(SchedAttr {
        policy,
        flags,
        nice: s.nice,
        priority: s.priority,
        runtime: s.runtime,
        deadline: s.deadline,
        period: s.period,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(json: &str) -> Result<ProcessPlan> {
        let mut p: Process = serde_json::from_str(json).unwrap();
        if p.args.is_empty() {
            p.args = vec!["x".into()];
        }
        if p.cwd.is_empty() {
            p.cwd = "/".into();
        }
        ProcessPlan::new(&p, None, &mut Vec::new())
    }

    #[test]
    fn refusals() {
        for (json, names) in [
            (r#"{"cwd":"x"}"#, "cwd"),
            (r#"{"args":["a\u0000"]}"#, "NUL"),
            (r#"{"env":["a"]}"#, "env"),
            (r#"{"env":["=a"]}"#, "env"),
            (r#"{"user":{"uid":4294967295}}"#, "user"),
            (r#"{"user":{"additionalGids":[4294967295]}}"#, "user"),
            (r#"{"selinuxLabel":"x"}"#, "selinuxLabel"),
            (r#"{"execCPUAffinity":{}}"#, "execCPUAffinity"),
            (r#"{"oomScoreAdj":1001}"#, "oomScoreAdj"),
            (r#"{"rlimits":[{"type":"RLIMIT_X","hard":1,"soft":1}]}"#, "RLIMIT_X"),
            (r#"{"rlimits":[{"type":"RLIMIT_CPU","hard":1,"soft":2}]}"#, "soft"),
            (r#"{"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":8}}"#, "ioPriority"),
            (r#"{"scheduler":{"policy":"SCHED_X"}}"#, "SCHED_X"),
            (r#"{"scheduler":{"policy":"SCHED_OTHER","flags":["F"]}}"#, "flags"),
        ] {
            let e = process(json).unwrap_err();
            assert!(e.text().contains(names), "{json}: {e}");
        }
        assert!(process(r#"{"args":[""]}"#).unwrap_err().kind() == ErrorKind::CommandNotFound);
    }

    #[test]
    fn the_last_value_of_a_name_counts() {
        let p = process(r#"{"env":["PATH=/a","X=1","PATH=/b","HOME="]}"#).unwrap();
        assert_eq!((p.env.as_slice(), p.path.as_str()), (&["PATH=/b".to_owned(), "X=1".into()][..], "/b"));
        assert!(!p.has_home());
        assert_eq!(p.environment(Some("/root")).unwrap().strings().len(), 3);
        assert_eq!(process("{}").unwrap().path, DEFAULT_PATH);
    }
}
