//! Network namespaces, prepared ahead and already plugged into the bridge, and the one background thread of this
//! crate, which prepares them, watches over the firewall table, and clears away what containers left.
//!
//! The thread works after the start it serves, not beside it: a refill waits until no namespace was taken for a
//! moment, and yields to everything else by its nice value.

use crate::addresses::Lease;
use crate::bridge::{Bridge, Pin};
use crate::netlink::Socket;
use crate::netns::{self, Astray, Home, THREAD_STACK};
use crate::nft::NOTIFICATIONS;
use dhow_types::{Context, Error, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Docker's default sysctls of a namespace of its own. Every namespace made here has them already, so a spec need
/// not set them again.
pub const PRESET_SYSCTLS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// Low, but not the lowest: the kernel's networking lock must not be held by a thread that never runs.
const NICE: i32 = 10;
/// However busy the daemon is, a refill is not put off longer than this after it was first wanted.
const MAX_WAIT: Duration = Duration::from_millis(50);
/// Receive buffer of the socket that hears of changes to nftables.
const WATCH_BYTES: usize = 2 * 1024 * 1024;
/// After a failure (no address, no memory) the thread tries again not before this.
const RETRY: Duration = Duration::from_secs(1);

/// How much is prepared ahead.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// How many namespaces are kept ready.
    pub target: usize,
    /// How long after the last [`Pool::take`] the refill waits, so that it does not compete with the start it served.
    pub settle: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { target: 4, settle: Duration::from_millis(4) }
    }
}

/// What makes a namespace part of a bridge.
pub(crate) struct Plugged {
    pub(crate) lease: Lease,
    pub(crate) pin: Pin,
}

/// A network namespace with `lo` up, IPv6 off for devices to come, [`PRESET_SYSCTLS`] set, and perhaps `eth0`.
pub struct NetnsSlot {
    // Before `plugged`: the namespace goes first, its address is free after that.
    pub(crate) route: Option<Socket>,
    fd: OwnedFd,
    pub(crate) plugged: Option<Plugged>,
}

impl NetnsSlot {
    /// A fresh one, made now, with no device but `lo`.
    pub fn new() -> Result<Self> {
        netns::make()
    }
    pub(crate) fn bare(fd: OwnedFd, route: Socket) -> Self {
        Self { route: Some(route), fd, plugged: None }
    }
    /// The namespace, for `setns`.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
    /// The namespace alone. What [`Bridge::connect`] gave it stays.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

/// A network namespace with nothing but `lo`, for network mode `none`.
pub fn loopback_netns() -> Result<OwnedFd> {
    Ok(NetnsSlot::new()?.into_fd())
}

struct State {
    ready: VecDeque<NetnsSlot>,
    /// When the last one was taken, and when the refill that this wants was first wanted.
    last_take: Instant,
    wanted_since: Option<Instant>,
    /// Whether anything is prepared yet: see [`Pool::fill`].
    filling: bool,
    failure: Option<Error>,
    stop: bool,
}

struct Shared {
    bridge: Bridge,
    config: PoolConfig,
    state: Mutex<State>,
    wake: Arc<OwnedFd>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn note(&self, outcome: Result<()>) {
        if let Err(e) = outcome {
            self.state().failure = Some(e);
        }
    }
    fn wake(&self) {
        wake(&self.wake);
    }
}

/// Wakes the thread that waits on this eventfd.
pub(crate) fn wake(fd: &OwnedFd) {
    // It fails only when the counter is full, and then the thread is awake anyway.
    let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
}

/// Namespaces ready to be taken. Dropping it ends the thread and the namespaces nobody took.
pub struct Pool {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Pool {
    /// Starts the background thread. Nothing is prepared before the first [`Pool::take`] or [`Pool::fill`], so that
    /// endpoints of an earlier daemon can be adopted in peace: a namespace prepared too early could get the address of
    /// one that is still to come.
    pub fn start(bridge: &Bridge, config: PoolConfig) -> Result<Self> {
        let now = Instant::now();
        let state = State {
            ready: VecDeque::new(),
            last_take: now,
            wanted_since: None,
            filling: false,
            failure: None,
            stop: false,
        };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(std::io::Error::from)
            .context("make an eventfd for the network thread")?;
        let wake = Arc::new(wake);
        bridge.wake_when_leaving(&wake);
        let shared = Arc::new(Shared { bridge: bridge.clone(), config, state: Mutex::new(state), wake });
        let home = Home::here()?;
        let watch = Socket::netfilter_groups(NOTIFICATIONS).context("watch nftables for changes")?;
        // Thousands of changes at once must not overflow it; the memory is used only while they wait.
        rustix::net::sockopt::set_socket_recv_buffer_size_force(watch.fd(), WATCH_BYTES)
            .map_err(std::io::Error::from)
            .context("enlarge the buffer for changes of nftables")?;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("dhow-net".into())
            .stack_size(THREAD_STACK)
            .spawn(move || run(&of_thread, &home, &watch))
            .context("start the network thread")?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Begins to prepare namespaces. To be called when all endpoints are adopted.
    pub fn fill(&self) {
        self.shared.state().filling = true;
        self.shared.wake();
    }

    /// A namespace plugged into the bridge, or, if none is ready, one made and plugged now.
    pub fn take(&self) -> Result<NetnsSlot> {
        let taken = {
            let mut state = self.shared.state();
            let now = Instant::now();
            state.last_take = now;
            state.filling = true;
            // While a refill is due the thread wakes by itself and sees the later time.
            if state.wanted_since.is_none() {
                state.wanted_since = Some(now);
                self.shared.wake();
            }
            state.ready.pop_front()
        };
        match taken {
            Some(slot) => Ok(slot),
            None => {
                let mut slot = NetnsSlot::new()?;
                self.shared.bridge.plug(&mut slot, None)?;
                Ok(slot)
            }
        }
    }

    /// Why the background thread last failed to prepare a namespace or to restore the firewall, for the log; told
    /// once. [`Pool::take`] works on without it.
    pub fn take_failure(&self) -> Option<Error> {
        self.shared.state().failure.take()
    }

    /// How many are ready now.
    pub fn ready(&self) -> usize {
        self.shared.state().ready.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, home: &Home, watch: &Socket) {
    // Being nice is a wish, not a need.
    let _ = rustix::process::setpriority_process(None, NICE);
    let mut not_before: Option<Instant> = None;
    loop {
        let refill = refill_time(shared, not_before);
        let due = [refill, shared.bridge.next_sweep()].into_iter().flatten().min();
        let seen = wait(shared, watch, due);
        if shared.state().stop {
            return;
        }
        // Refused now, it is tried again with the next change; the daemon's own changes try it too.
        match seen {
            Seen::Nothing => {}
            Seen::Damage => shared.note(shared.bridge.reassert()),
            Seen::Gap => shared.note(shared.bridge.firewall().restore_if_gone()),
        }
        let now = Instant::now();
        shared.note(shared.bridge.sweep(now));
        if refill_time(shared, not_before).is_none_or(|at| at > now) {
            continue;
        }
        not_before = match prepare(shared, home) {
            Ok(()) => None,
            Err(Astray::No(e)) => {
                shared.note(Err(e));
                Some(now + RETRY)
            }
            // Without a way home the thread ends; `take` makes namespaces without it.
            Err(Astray::Yes) => return,
        };
    }
}

/// When the next namespace should be prepared; `None` while there are enough.
fn refill_time(shared: &Shared, not_before: Option<Instant>) -> Option<Instant> {
    let mut state = shared.state();
    if !state.filling || state.ready.len() >= shared.config.target {
        state.wanted_since = None;
        return None;
    }
    let quiet = state.last_take + shared.config.settle;
    let at = state.wanted_since.map_or(quiet, |since| quiet.min(since + MAX_WAIT));
    Some(not_before.map_or(at, |n| n.max(at)))
}

fn prepare(shared: &Shared, home: &Home) -> Result<(), Astray> {
    let mut slot = home.make()?;
    shared.bridge.plug(&mut slot, None).map_err(Astray::No)?;
    shared.state().ready.push_back(slot);
    Ok(())
}

/// What was heard of the firewall.
enum Seen {
    Nothing,
    /// Somebody took a part of our table away.
    Damage,
    /// Messages were lost.
    Gap,
}

/// Sleeps until something is due, the eventfd is written, or nftables change.
fn wait(shared: &Shared, watch: &Socket, due: Option<Instant>) -> Seen {
    let timeout = due.map(|at| {
        let left = at.saturating_duration_since(Instant::now());
        Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
    });
    let changes = watch.fd();
    let mut fds = [PollFd::new(&shared.wake, PollFlags::IN), PollFd::new(&changes, PollFlags::IN)];
    if poll(&mut fds, timeout.as_ref()).is_err() {
        return Seen::Nothing;
    }
    let [woken, changed] = fds.map(|f| !f.revents().is_empty());
    if woken {
        let _ = rustix::io::read(&shared.wake, &mut [0u8; 8]);
    }
    if !changed {
        return Seen::Nothing;
    }
    let mut damaged = false;
    let firewall = shared.bridge.firewall();
    match watch.heard(&mut |message| damaged |= firewall.is_damage(&message)) {
        Ok(false) => Seen::Gap,
        _ if damaged => Seen::Damage,
        _ => Seen::Nothing,
    }
}
