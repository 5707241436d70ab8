//! `update`: other limits and another restart policy for containers that are there, with Docker's flags.

use super::context::Context;
use super::each::for_each;
use super::{output, units};
use crate::flags::{restart, values};
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use dhow_api::{ContainerUpdateResponse, HostConfig};
use dhow_client::query::encode;

/// Change limits and the restart policy of containers
#[derive(Parser, Debug)]
pub struct UpdateArgs {
    #[command(flatten)]
    flags: Flags,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// What can be changed.
#[derive(clap::Args, Debug, Default, PartialEq)]
struct Flags {
    /// Block I/O weight (10-1000)
    #[arg(long, value_name = "N")]
    blkio_weight: Option<u16>,
    /// Period of the CPU quota in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<i64>,
    /// CPU time per period in microseconds; -1 for no limit
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Period of the real-time quota in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<i64>,
    /// Real-time time per period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<i64>,
    /// Weight against other containers (1024 is usual)
    #[arg(short = 'c', long, value_name = "N")]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "N", value_parser = values::cpus)]
    cpus: Option<String>,
    /// CPUs it may use (0-2,4)
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes it may use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Kernel memory (withdrawn by the kernel: ignored, as Docker does)
    #[arg(long, value_name = "BYTES", hide = true, value_parser = values::size)]
    kernel_memory: Option<String>,
    /// Memory limit (b, k, m, g)
    #[arg(short, long, value_name = "BYTES", value_parser = values::size)]
    memory: Option<String>,
    /// What it keeps when memory is short (b, k, m, g)
    #[arg(long, value_name = "BYTES", value_parser = values::size)]
    memory_reservation: Option<String>,
    /// Memory and swap together; -1 for no limit on swap
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = values::size_or_all)]
    memory_swap: Option<String>,
    /// Number of processes and threads; -1 for no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// When to start it again after its end: no, always, unless-stopped or on-failure[:COUNT]
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
}

/// `dhow update`.
pub fn update(context: &Context, args: UpdateArgs) -> Result<i32> {
    let document = document(&args.flags)?;
    let client = context.client();
    let mut warnings = Vec::new();
    let code = for_each(&args.containers, true, |name| {
        let path = format!("/containers/{}/update", encode(name));
        let answer: ContainerUpdateResponse = context.with_daemon(&client, |c| c.post(&path, &document))?;
        warnings.extend(answer.warnings.unwrap_or_default());
        Ok(())
    })?;
    warnings.iter().for_each(output::line);
    Ok(code)
}

fn document(flags: &Flags) -> Result<HostConfig> {
    if *flags == Flags::default() {
        bail!("you must provide one or more flags when using this command");
    }
    let size = |flag: &str, text: &Option<String>| -> Result<i64> {
        text.as_deref().map_or(Ok(0), |t| units::bytes(t).with_context(|| format!("invalid argument for {flag}")))
    };
    size("--kernel-memory", &flags.kernel_memory)?;
    Ok(HostConfig {
        blkio_weight: flags.blkio_weight.unwrap_or_default(),
        cpu_period: flags.cpu_period.unwrap_or_default(),
        cpu_quota: flags.cpu_quota.unwrap_or_default(),
        cpu_realtime_period: flags.cpu_rt_period.unwrap_or_default(),
        cpu_realtime_runtime: flags.cpu_rt_runtime.unwrap_or_default(),
        cpu_shares: flags.cpu_shares.unwrap_or_default(),
        nano_cpus: flags.cpus.as_deref().map_or(Ok(0), units::nano_cpus)?,
        cpuset_cpus: flags.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: flags.cpuset_mems.clone().unwrap_or_default(),
        memory: size("--memory", &flags.memory)?,
        memory_reservation: size("--memory-reservation", &flags.memory_reservation)?,
        memory_swap: match flags.memory_swap.as_deref() {
            Some("-1") => -1,
            _ => size("--memory-swap", &flags.memory_swap)?,
        },
        pids_limit: flags.pids_limit.filter(|n| *n != 0),
        restart_policy: restart::policy(flags.restart.as_deref().unwrap_or_default())?,
        ..HostConfig::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_document() {
        assert!(document(&Flags::default()).unwrap_err().to_string().contains("one or more flags"));
        let flags = Flags {
            memory: Some("64m".into()),
            memory_swap: Some("-1".into()),
            cpus: Some("0.5".into()),
            restart: Some("on-failure:3".into()),
            ..Flags::default()
        };
        let d = document(&flags).unwrap();
        assert_eq!((d.memory, d.memory_swap, d.nano_cpus), (64 << 20, -1, 500_000_000));
        assert_eq!((d.restart_policy.name.as_str(), d.restart_policy.maximum_retry_count), ("on-failure", 3));
        assert!(document(&Flags { memory: Some("x".into()), ..Flags::default() }).is_err());
        assert!(document(&Flags { restart: Some(":3".into()), ..Flags::default() }).is_err());
    }
}
