//! `update`: changes the limits of a container that runs.

use super::Global;
use super::args::{Flag, Line};
use super::record::{self, Dir};
use crate::context::Context;
use crate::spec::Resources;
use crate::state::Status;
use dhow_cgroup::resources::{BlockIo, Cpu, Memory, Pids};
use dhow_types::{Error, Result};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;

const FLAGS: &[Flag] = &[
    Flag::value("resources", "r"),
    Flag::value("blkio-weight", ""),
    Flag::value("cpu-period", ""),
    Flag::value("cpu-quota", ""),
    Flag::value("cpu-burst", ""),
    Flag::value("cpu-share", ""),
    Flag::value("cpu-rt-period", ""),
    Flag::value("cpu-rt-runtime", ""),
    Flag::value("cpu-idle", ""),
    Flag::value("cpuset-cpus", ""),
    Flag::value("cpuset-mems", ""),
    Flag::value("memory", ""),
    Flag::value("memory-reservation", ""),
    Flag::value("memory-swap", ""),
    Flag::value("pids-limit", ""),
    Flag::value("kernel-memory", ""),
    Flag::value("kernel-memory-tcp", ""),
    Flag::value("l3-cache-schema", ""),
    Flag::value("mem-bw-schema", ""),
];

/// `update ID`.
pub(crate) fn update(global: &Global, words: Vec<OsString>, warn: &mut dyn FnMut(&[String])) -> Result<i32> {
    let line = Line::all(FLAGS, words)?;
    let dir = Dir::open(&global.root, &line.only_id()?)?;
    let record = dir.record()?;
    if record.status(&dir)? == Status::Stopped {
        return Err(Error::conflict(format!("container {} has stopped; it has no limits to change", dir.id)));
    }
    let resources = resources(&line)?;
    let group = record.group()?.ok_or_else(|| Error::unavailable(format!("container {} has no cgroup", dir.id)))?;
    warn(&group.update(&resources)?);
    Ok(0)
}

fn resources(line: &Line) -> Result<Resources> {
    if let Some(path) = line.path("resources") {
        let what = || format!("--resources {}", path.display());
        let file = match path.to_str() {
            Some("-") => File::from(std::io::stdin().as_fd().try_clone_to_owned().with_context(what)?),
            _ => File::open(path).with_context(what)?,
        };
        let text = record::read_limited(file).with_context(what)?;
        return serde_json::from_slice(&text).map_err(|e| Error::invalid(format!("{}: {e}", what())));
    }
    for gone in ["kernel-memory", "kernel-memory-tcp", "l3-cache-schema", "mem-bw-schema"] {
        if line.path(gone).is_some() {
            return Err(Error::not_implemented(format!("--{gone} is not supported by this runtime")));
        }
    }
    let memory = Memory {
        limit: line.number("memory")?,
        reservation: line.number("memory-reservation")?,
        swap: line.number("memory-swap")?,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: line.number("cpu-share")?,
        quota: line.number("cpu-quota")?,
        burst: line.number("cpu-burst")?,
        period: line.number("cpu-period")?,
        realtime_runtime: line.number("cpu-rt-runtime")?,
        realtime_period: line.number("cpu-rt-period")?,
        idle: line.number("cpu-idle")?,
        cpus: line.text("cpuset-cpus")?.unwrap_or_default().to_owned(),
        mems: line.text("cpuset-mems")?.unwrap_or_default().to_owned(),
    };
    let pids = line.number("pids-limit")?.map(|limit| Pids { limit: Some(limit) });
    let block_io = line.number("blkio-weight")?.map(|weight| BlockIo { weight: Some(weight), ..BlockIo::default() });
    Ok(Resources {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids,
        block_io,
        ..Resources::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_resources() {
        let words = ["id", "--memory", "1048576", "--cpu-quota=-1", "--pids-limit", "7"].map(OsString::from).to_vec();
        let r = resources(&Line::all(FLAGS, words).unwrap()).unwrap();
        assert_eq!(r.memory.unwrap().limit, Some(1 << 20));
        assert_eq!((r.cpu.unwrap().quota, r.pids.unwrap().limit, r.block_io), (Some(-1), Some(7), None));
        let words = ["id", "--memory", "1g"].map(OsString::from).to_vec();
        assert!(resources(&Line::all(FLAGS, words).unwrap()).is_err());
    }
}
