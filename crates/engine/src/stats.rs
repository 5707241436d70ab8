//! `stats`: what a container uses, once a second for as long as somebody asks. Nothing is collected before, nothing
//! after, and nothing is remembered. What the numbers are called, and what is worked out of them, is not decided here.

use crate::container::Container;
use crate::core::{Core, blocking};
use crate::pause;
use crate::view::{StatsView, Traffic, Used};
use dhow_types::{Context, Error, Result};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Between two samples.
const TICK: Duration = Duration::from_secs(1);
/// One clock tick of `/proc/stat`: USER_HZ is 100 on all architectures dhow runs on.
const TICK_NS: u64 = 10_000_000;
/// Samples that may wait for a slow client; it misses those that come meanwhile.
const AHEAD: usize = 1;

/// How a client wants them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsRequest {
    /// One a second until the client leaves or the container is removed; else one.
    pub stream: bool,
    /// The one at once, with nothing before it to compare with.
    pub one_shot: bool,
}

/// Starts collecting; it ends when the receiver is dropped.
pub(crate) fn stats(core: &Arc<Core>, name: &str, request: StatsRequest) -> Result<mpsc::Receiver<StatsView>> {
    if request.stream && request.one_shot {
        return Err(Error::invalid("cannot have stream=true and one-shot=true"));
    }
    let container = core.registry().find(name)?;
    let (tx, rx) = mpsc::channel(AHEAD);
    tokio::spawn(collect(core.clone(), container, request, tx));
    Ok(rx)
}

async fn collect(core: Arc<Core>, container: Arc<Container>, request: StatsRequest, tx: mpsc::Sender<StatsView>) {
    let mut before: Option<(Timestamp, Used)> = None;
    let mut ticks = interval_at(Instant::now(), TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first of two that one answer is made of only serves to compare with.
    let mut compared = request.stream || request.one_shot;
    loop {
        tokio::select! {
            _ = tx.closed() => return,
            _ = ticks.tick() => {}
        }
        if core.registry().find(container.id.as_str()).is_err() {
            return;
        }
        let (shared, same) = (core.clone(), container.clone());
        // One that ended in this moment uses nothing.
        let used = blocking(move || sample(&shared, &same)).await.unwrap_or_default();
        let now = Timestamp::now();
        let running = used.is_some();
        if compared || !running {
            let view = StatsView {
                id: container.id.clone(),
                name: container.record().name,
                read: running.then_some(now),
                before: before.take(),
                used: used.clone(),
            };
            if !request.stream {
                let _ = tx.send(view).await;
                return;
            }
            let _ = tx.try_send(view);
        }
        compared = true;
        before = used.map(|used| (now, used));
    }
}

/// What a container has used so far; `None` if it does not run. Blocks.
fn sample(core: &Core, container: &Container) -> Result<Option<Used>> {
    let Ok((link, pid)) = container.first() else { return Ok(None) };
    let record = container.record();
    let group = match record.cgroup {
        Some(_) => pause::group(core, &record)?.stats()?,
        None => Default::default(),
    };
    let machine = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let (system_ns, online_cpus) = machine_cpu(&machine);
    // A container on the machine's own network has no traffic of its own.
    let networks = match record.config.network_disabled || record.host.network_mode == "host" {
        true => None,
        false => std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok().map(|text| devices(&text)),
    };
    // What ended meanwhile may have left its number to a process of another network.
    let Ok((same, _)) = container.first() else { return Ok(None) };
    let networks = networks.filter(|_| Arc::ptr_eq(&same, &link));
    let memory_total = crate::info::memory();
    Ok(Some(Used { group, system_ns, online_cpus, memory_total, networks }))
}

/// The time that all processors spent, and how many there are, from `/proc/stat`. Docker counts the first seven kinds
/// of time: what comes behind them is part of them.
fn machine_cpu(text: &str) -> (u64, u32) {
    const KINDS: usize = 7;
    let mut sum = 0;
    let mut processors = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next().and_then(|word| word.strip_prefix("cpu")) {
            Some("") => sum = words.take(KINDS).filter_map(|w| w.parse::<u64>().ok()).sum(),
            Some(number) if number.bytes().all(|b| b.is_ascii_digit()) => processors += 1,
            _ => {}
        }
    }
    (sum * TICK_NS, processors)
}

/// The traffic of each device but the loopback, from `/proc/PID/net/dev`.
fn devices(text: &str) -> BTreeMap<String, Traffic> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let n: Vec<u64> = rest.split_whitespace().filter_map(|w| w.parse().ok()).collect();
        let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, tx_bytes, tx_packets, tx_errors, tx_dropped, ..] =
            n[..]
        else {
            return None;
        };
        let traffic =
            Traffic { rx_bytes, rx_packets, rx_errors, rx_dropped, tx_bytes, tx_packets, tx_errors, tx_dropped };
        (name.trim() != "lo").then(|| (name.trim().to_owned(), traffic))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_time_is_that_of_seven_kinds() {
        for (text, want) in [
            (
                "cpu  1 2 3 4 5 6 7 800 900 1000\ncpu0 1 1 1 1 1 1 1 0 0 0\ncpu1 0 1 2 3 4 5 6 0 0 0\nintr 5\n",
                (280_000_000, 2),
            ),
            ("cpu  10 0 10 100\ncpu0 10 0 10 100\n", (1_200_000_000, 1)),
            ("intr 5\ncpufreq 7\n", (0, 0)),
            ("", (0, 0)),
        ] {
            assert_eq!(machine_cpu(text), want, "{text:?}");
        }
    }

    #[test]
    fn devices_without_the_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
                    lo:    9    9    9    9    0     0          0         0    9    9    9    9    0     0       0          0\n  \
                    eth0: 796      8    1    2    0     0          0         0 500    6    3    4    0     0       0          0\n  \
                    odd: 1 2 3\n";
        let want = Traffic {
            rx_bytes: 796,
            rx_packets: 8,
            rx_errors: 1,
            rx_dropped: 2,
            tx_bytes: 500,
            tx_packets: 6,
            tx_errors: 3,
            tx_dropped: 4,
        };
        assert_eq!(devices(text), BTreeMap::from([("eth0".to_owned(), want)]));
        assert!(devices("").is_empty());
    }
}
