//! What the shim does with this library, as a program: an overlay as root, `--init`, a process that dies with its
//! maker. `launch BUNDLE LOWER:LOWER... UPPER WORK [init]` runs the bundle's document and ends with its exit code.

use dhow_runtime::{Launch, Overlay, Rootfs, Stdio, create};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("too few arguments");
    let bundle = PathBuf::from(next()?);
    let lower = next()?.split(':').map(PathBuf::from).collect();
    let (upper, work) = (PathBuf::from(next()?), PathBuf::from(next()?));
    let init = next().ok();
    let spec = serde_json::from_slice(&std::fs::read(bundle.join("config.json"))?)?;
    let overlay = Overlay { lower, upper, work, volatile: true, readonly: false };
    let mut launch = Launch::new("launched", &bundle, &spec, Rootfs::Overlay(overlay), Stdio::Inherit);
    launch.parent_death_signal = Some(Signal::KILL);
    launch.init_binary = init.map(|_| dhow_sys::guest::INIT);
    let mut created = create(launch)?;
    created.start()?;
    let status = waitid(WaitId::PidFd(created.pidfd()), WaitIdOptions::EXITED)?.ok_or("no status")?;
    let code = status.exit_status().or(status.terminating_signal().map(|s| 128 + s)).unwrap_or(255);
    Ok(ExitCode::from(code as u8))
}
