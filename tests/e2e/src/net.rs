//! Network namespaces of the tests' own.

use anyhow::{Context as _, Result, ensure};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A namespace, kept by the descriptor of a thread that made it.
#[derive(Clone)]
pub struct Netns {
    file: Arc<std::fs::File>,
}

impl Netns {
    /// A new namespace with its loopback up.
    pub fn new() -> Result<Self> {
        let file = std::thread::spawn(|| -> Result<std::fs::File> {
            dhow_sys::netns::unshare_net()?;
            Ok(std::fs::File::open("/proc/thread-self/ns/net")?)
        })
        .join()
        .map_err(|_| anyhow::anyhow!("the thread that makes a namespace panicked"))??;
        let ns = Self { file: Arc::new(file) };
        ns.run(&["ip", "link", "set", "lo", "up"])?;
        Ok(ns)
    }

    /// Runs a command inside and gives its output; an error if it fails.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        let out = self.within(|| command.output())?.with_context(|| format!("run {words:?}"))?;
        ensure!(
            out.status.success(),
            "{words:?} in the namespace: {}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Runs a closure on a thread inside; what it spawns is inside too (and keeps the mounts of the control groups,
    /// unlike `ip netns exec`).
    pub fn within<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        use std::os::fd::AsFd;
        std::thread::scope(|scope| {
            scope
                .spawn(|| -> Result<T> {
                    rustix::thread::move_into_link_name_space(
                        self.file.as_fd(),
                        Some(rustix::thread::LinkNameSpaceType::Network),
                    )?;
                    Ok(f())
                })
                .join()
                .map_err(|_| anyhow::anyhow!("panicked inside the namespace"))?
        })
    }
}
