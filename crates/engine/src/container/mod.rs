//! One container: its record, its life, and the task that owns both.
//!
//! ```text
//!                 start                     the end
//!   Created ───────────────► Running ─────────────────────► Exited ──┐
//!      │ ▲                   ▲  ▲ │                         ▲ │      │ start, also by the daemon coming up
//!      │ └── start failed    │  └─┼─────────────────────────┼─┼──────┘
//!      │                     │    │ the end, and the        │ │
//!      │         after the   │    │ policy says so     stop │ │
//!      │         wait, start │    ▼                         │ │
//!      │                     └─ Restarting ─────────────────┘ │
//!      │                          │  ▲ start failed           │
//!      │                          └──┘                        │
//!      └───────────── remove ────► Removing ◄──── remove ─────┘  (with auto_remove the end itself removes)
//!                                     │
//!                                     ▼
//!                                   gone
//! ```
//!
//! One that could not be killed (Running → Dead) keeps its shim and is removed when that reports its end.
//!
//! Who may change what: only the task changes `record` and `live`; it takes `start`, `remove` and the shim's reports
//! from one bounded queue, and does by itself what its [`timers`] tell. Everybody else reads under the lock, which is
//! never held across I/O or an await. What does not change the state (signals, attach, resize, exec) speaks to the shim
//! directly; a signal leaves its marks in the record before it is sent. A run that is paused is Running:
//! [`crate::pause`] and signals change what `live` says about that, in the order told there.

pub(crate) mod attach;
pub(crate) mod create;
mod doom;
mod exit;
mod health;
mod join;
mod keep;
mod log;
pub(crate) mod logging;
mod prepare;
pub(crate) mod probe;
mod recover;
mod remove;
mod rename;
mod restart;
mod start;
pub(crate) mod startup;
mod timers;
pub(crate) mod update;

#[cfg(test)]
mod tests;

use crate::config::WaitCondition;
use crate::core::Core;
use crate::events::Told;
use crate::link::{Link, Report};
use crate::plan;
use crate::record::Record;
use crate::view::{Status, WaitResult};
use crate::wait::Waits;
use attach::Pending;
use dhow_types::{Cause, ContainerId, Error, ErrorKind, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timers::{Clock, Timer};
use tokio::sync::{Notify, mpsc, oneshot};

/// Requests and reports that may wait for one container.
const MAX_QUEUE: usize = 64;

/// How long a signal waits for its mark to be written.
const MAX_MARK: Duration = Duration::from_secs(5);
/// How long somebody who wants its end waits for a start that is under way: the bounds of a start's steps, together.
const MAX_START: Duration = Duration::from_secs(90);

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    shared: Mutex<Shared>,
    /// Boxed, because a queue has room for many from the beginning, and most containers idle.
    queue: mpsc::Sender<Box<Command>>,
    /// Told whenever something in `shared` changes that somebody may wait for.
    changed: Notify,
    /// Held alone by what stops its processes or relies on their standing still (pause, unpause, commit), together by
    /// starts of execs: a process that is born into a group that is freezing would hold its shim up.
    pub(crate) standing: Arc<tokio::sync::RwLock<()>>,
    /// Counts the links to shims, so that a late report of an old one is known.
    generation: AtomicU64,
}

/// What is read by others.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) record: Record,
    pub(crate) live: Option<Live>,
    /// A start is under way and has taken the clients that waited.
    starting: bool,
    /// Clients that attached before the start.
    pending: Vec<Pending>,
    /// Attach tickets that were given out and not yet used.
    tickets: usize,
    /// Restarts that are under way: an end does not remove the container meanwhile.
    restarts: usize,
    /// Who does something to the group of a run: the next one, whose group has the same name, waits for that.
    holds: usize,
    /// The health check that runs.
    probe: Option<Box<probe::Slot>>,
    waits: Waits,
    /// What the task does later by itself.
    agenda: timers::Agenda,
}

/// A container's shim.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) link: Arc<Link>,
    pub(crate) generation: u64,
    /// Its processes stand still, because somebody asked for it.
    pub(crate) paused: bool,
    /// SIGKILL was sent: from now on nobody may stop its processes from ending.
    pub(crate) killed: bool,
    /// The version of the protocol that the shim speaks.
    pub(crate) protocol: u32,
}

impl Live {
    fn new(link: Arc<Link>, generation: u64, protocol: u32) -> Self {
        Self { link, generation, paused: false, killed: false, protocol }
    }
}

/// What the task is asked to do.
#[derive(Debug)]
enum Command {
    Start(oneshot::Sender<Result<()>>),
    Remove { volumes: bool, reply: oneshot::Sender<Result<()>> },
    Doom { run: u64, volumes: bool, reply: oneshot::Sender<Result<()>> },
    Rename { name: String, reply: oneshot::Sender<Result<()>> },
    ByHand { last: bool, reply: oneshot::Sender<Result<Seen>> },
    Again { run: u64, reason: String, reply: oneshot::Sender<Result<bool>> },
    GoOn(oneshot::Sender<Result<()>>),
    Update { wanted: Box<update::Wanted>, reply: oneshot::Sender<Result<Vec<String>>> },
    TakeUp { told: Told, reply: oneshot::Sender<Result<()>> },
    DropLog(oneshot::Sender<Result<()>>),
    Probed(Box<health::Probed>),
    Shim { generation: u64, report: Report },
}

/// What somebody who is about to end a container finds. What he sends is meant for this run, and never for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: Status,
    /// The generation of the run that goes on.
    pub(crate) run: Option<u64>,
}

/// Who starts a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// A client: what restarted it so far is forgotten.
    Hand,
    /// Its restart policy.
    Itself,
}

impl Container {
    /// Whether it runs or is on its way to.
    pub(crate) fn is_busy(&self) -> bool {
        let shared = self.shared();
        shared.starting || shared.record.state.status == Status::Running || shared.ends()
    }

    /// Starts the task of a container.
    pub(crate) fn spawn(core: &Arc<Core>, record: Record) -> Arc<Self> {
        let (queue, commands) = mpsc::channel(MAX_QUEUE);
        let shared = Shared {
            record,
            live: None,
            starting: false,
            pending: Vec::new(),
            tickets: 0,
            restarts: 0,
            holds: 0,
            probe: None,
            waits: Waits::default(),
            agenda: timers::Agenda::default(),
        };
        let me = Arc::new(Self {
            id: shared.record.id.clone(),
            shared: Mutex::new(shared),
            queue,
            changed: Notify::new(),
            standing: Arc::default(),
            generation: AtomicU64::new(0),
        });
        tokio::spawn(run(core.clone(), me.clone(), commands));
        me
    }

    pub(crate) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the record as it is now.
    pub(crate) fn record(&self) -> Record {
        self.shared().record.clone()
    }

    pub(crate) fn status(&self) -> Status {
        self.shared().record.state.status
    }

    /// The shim of a running container.
    pub(crate) fn running(&self) -> Result<Arc<Link>> {
        let link = self.shared().run().map(|live| live.link.clone());
        link.ok_or_else(|| self.not_running())
    }

    pub(crate) fn not_running(&self) -> Error {
        Error::conflict(format!("container {} is not running", self.id))
    }

    /// The shim of a running container, and the number of the process that this shim started.
    pub(crate) fn first(&self) -> Result<(Arc<Link>, i32)> {
        let shared = self.shared();
        let state = &shared.record.state;
        match (&shared.live, state.status) {
            (Some(live), Status::Running) if state.pid > 0 => Ok((live.link.clone(), state.pid)),
            _ => Err(self.not_running()),
        }
    }

    /// The record of this run while it goes on: the process in it is this run's.
    pub(crate) fn record_of(&self, run: u64) -> Result<Record> {
        let mut shared = self.shared();
        let goes_on = shared.run().is_some_and(|live| live.generation == run) && shared.record.state.pid > 0;
        if goes_on { Ok(shared.record.clone()) } else { Err(self.not_running()) }
    }

    /// The end of a run, known at once if it is over.
    pub(crate) fn end_of(&self, run: u64) -> Result<oneshot::Receiver<WaitResult>> {
        let mut shared = self.shared();
        let condition = match (shared.of_run(run).is_some(), shared.record.state.status) {
            (false, _) => return Ok(answered(shared.record.result())),
            // It goes with its end.
            (true, Status::Dead) => WaitCondition::Removed,
            (true, _) => WaitCondition::NotRunning,
        };
        self.register(&mut shared, condition)
    }

    /// While the guard lives, no later run begins. None if this one is over.
    pub(crate) fn hold(self: &Arc<Self>, run: u64) -> Option<Held> {
        let mut shared = self.shared();
        shared.of_run(run)?;
        shared.holds += 1;
        Some(Held(self.clone()))
    }

    /// Whether its processes stand still, because somebody asked for it.
    pub(crate) fn is_paused(&self) -> bool {
        self.shared().run().is_some_and(|live| live.paused)
    }

    /// Tells who waits for a change that one was made without the task.
    pub(crate) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// The run of a container whose processes do not stand still.
    pub(crate) fn awake(&self) -> Result<Live> {
        let live = self.shared().run().cloned();
        match live {
            Some(live) if live.paused => {
                let text = format!("Container {} is paused, unpause the container before exec", self.id);
                Err(Error::conflict(text))
            }
            Some(live) => Ok(live),
            None => self.between_runs().and_then(|()| Err(self.not_running())),
        }
    }

    /// Refuses, in Docker's words, what needs its process while it waits for its next start.
    pub(crate) fn between_runs(&self) -> Result<()> {
        match self.status() {
            Status::Restarting => {
                let text = format!("Container {} is restarting, wait until the container is running", self.id);
                Err(Error::conflict(text))
            }
            _ => Ok(()),
        }
    }

    /// Starts it.
    pub(crate) async fn start(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Start(reply), answer).await
    }

    /// Removes it; it must not run.
    pub(crate) async fn remove(&self, volumes: bool) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Remove { volumes, reply }, answer).await
    }

    /// Removes it when this run ends, or now if it has.
    pub(crate) async fn doom(&self, run: u64, volumes: bool) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Doom { run, volumes, reply }, answer).await
    }

    /// Gives it another name.
    pub(crate) async fn rename(&self, name: String) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Rename { name, reply }, answer).await
    }

    /// Notes that somebody is about to send it a signal; with `last`, that he wants its end, which ends the wait for
    /// the next start, too. A start that is under way is waited for. Gives what there is afterwards.
    pub(crate) async fn by_hand(&self, last: bool) -> Result<Seen> {
        {
            let mut shared = self.shared();
            let news = shared.record.marks.note(last);
            let record = &shared.record;
            // What is not started again is not worth a write: the next one tells it, too.
            let matters = !plan::restart::is_none(&record.host.restart_policy) || record.marks.asked.is_some();
            let seen = shared.seen();
            if seen.run.is_some() && !(news && matters) {
                return Ok(seen);
            }
        }
        let (reply, answer) = oneshot::channel();
        let mut asked = std::pin::pin!(self.ask(Command::ByHand { last, reply }, answer));
        if let Ok(seen) = tokio::time::timeout(MAX_MARK, &mut asked).await {
            return seen;
        }
        let seen = self.shared().seen();
        if seen.run.is_some() {
            // It must not be held up in ending.
            return Ok(seen);
        }
        tokio::time::timeout(MAX_START, asked).await.unwrap_or_else(|_| {
            let text = format!("container {} is being started, which takes long: try again", self.id.short());
            Err(Error::unavailable(text))
        })
    }

    /// Notes that it is to be started again, whatever its policy, when this run ends. False if that is over, or
    /// somebody wants its end.
    pub(crate) async fn again(&self, run: u64, reason: &str) -> Result<bool> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Again { run, reason: reason.to_owned(), reply }, answer).await
    }

    /// When the engine has taken everything up: starts it if it is to be started.
    async fn go_on(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::GoOn(reply), answer).await
    }

    /// Gives it other limits or another restart policy, and gives the warnings.
    pub(crate) async fn update(&self, wanted: update::Wanted) -> Result<Vec<String>> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Update { wanted: Box::new(wanted), reply }, answer).await
    }

    /// While the guard lives, an end does not remove it.
    pub(crate) fn kept(self: &Arc<Self>) -> Kept {
        self.shared().restarts += 1;
        Kept(self.clone())
    }

    /// Finds out, when the engine opens, what became of it meanwhile, and tells what was not `told`.
    pub(crate) async fn take_up(&self, told: Told) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::TakeUp { told, reply }, answer).await
    }

    /// Empties the log; it must not run. Blocks.
    pub(crate) fn drop_log(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Box::new(Command::DropLog(reply))).map_err(|_| gone(&self.id))?;
        answer.blocking_recv().unwrap_or_else(|_| Err(gone(&self.id)))
    }

    /// Notes that its image was used just now.
    fn touch_image(&self, core: &Core) {
        let image = self.shared().record.root.image();
        if let Some(Err(e)) = image.map(|id| core.store.touch(&id)) {
            tracing::warn!("container {}: note the use of its image: {e}", self.id.short());
        }
    }

    async fn ask<T>(&self, command: Command, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        self.queue.try_send(Box::new(command)).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => {
                Error::new(ErrorKind::Unavailable, format!("container {} is busy: try again", self.id.short()))
            }
            mpsc::error::TrySendError::Closed(_) => gone(&self.id),
        })?;
        answer.await.unwrap_or_else(|_| Err(gone(&self.id)))
    }

    /// Registers a wait; a condition that holds already is answered at once.
    pub(crate) fn wait(&self, condition: WaitCondition) -> Result<oneshot::Receiver<WaitResult>> {
        let mut shared = self.shared();
        let over = condition == WaitCondition::NotRunning && !shared.record.state.status.is_up() && !shared.starting;
        if over {
            return Ok(answered(shared.record.result()));
        }
        self.register(&mut shared, condition)
    }

    fn register(&self, shared: &mut Shared, condition: WaitCondition) -> Result<oneshot::Receiver<WaitResult>> {
        let full = || Error::new(ErrorKind::Exhausted, format!("too many waits on container {}", self.id.short()));
        shared.waits.register(condition).ok_or_else(full)
    }

    /// Makes a link's reports reach the task, and exec's the execs.
    pub(crate) fn reporter(self: &Arc<Self>, core: &Arc<Core>) -> (u64, impl Fn(Report) -> Reported + Send + use<>) {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let (me, core) = (Arc::downgrade(self), Arc::downgrade(core));
        let report = move |report| -> Reported {
            let (me, core) = (me.upgrade(), core.upgrade());
            Box::pin(async move {
                let (Some(me), Some(core)) = (me, core) else { return };
                match report {
                    // At once, so that an exec's exit code is known to whoever asks after its stream ended.
                    Report::Event(dhow_shim::protocol::Event::ExecExited { exec_id, exit_code, captured }) => {
                        match captured {
                            Some(captured) => {
                                crate::exec::tell_died(&core, &me, &exec_id, exit_code);
                                probe::heard(&mut me.shared(), &exec_id, exit_code, captured);
                            }
                            None => crate::exec::died(&core, &me, &exec_id, exit_code),
                        }
                    }
                    report => drop(me.queue.send(Box::new(Command::Shim { generation, report })).await),
                }
            })
        };
        (generation, report)
    }
}

/// Keeps a container that would remove itself at its end.
#[derive(Debug)]
pub(crate) struct Kept(Arc<Container>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.shared().restarts -= 1;
    }
}

/// Keeps the next run of a container from beginning.
#[derive(Debug)]
pub(crate) struct Held(Arc<Container>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.shared().holds -= 1;
        self.0.changed();
    }
}

/// A wait for what has happened already.
fn answered(result: WaitResult) -> oneshot::Receiver<WaitResult> {
    let (tx, rx) = oneshot::channel();
    let _ = tx.send(result);
    rx
}

/// The future of a report.
pub(crate) type Reported = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Shared {
    /// The run that goes on, if there is one.
    pub(crate) fn run(&mut self) -> Option<&mut Live> {
        match self.record.state.status {
            Status::Running => self.live.as_mut(),
            _ => None,
        }
    }

    /// This run, while it goes on or could not be killed.
    pub(crate) fn of_run(&mut self, run: u64) -> Option<&mut Live> {
        let lives = matches!(self.record.state.status, Status::Running | Status::Dead);
        self.live.as_mut().filter(|live| lives && live.generation == run)
    }

    /// What somebody sees who wants to send a signal.
    pub(crate) fn seen(&self) -> Seen {
        let status = self.record.state.status;
        let run = self.live.as_ref().filter(|_| status == Status::Running).map(|live| live.generation);
        Seen { status, run }
    }

    /// Whether it could not be killed yet, and goes when it ends.
    pub(crate) fn ends(&self) -> bool {
        self.record.state.status == Status::Dead && self.live.is_some()
    }

    /// The run of one that could not be killed yet.
    pub(crate) fn dying(&self) -> Option<u64> {
        self.live.as_ref().filter(|_| self.ends()).map(|live| live.generation)
    }
}

fn gone(id: &ContainerId) -> Error {
    Error::not_found(format!("No such container: {id}")).because(Cause::ContainerMissing)
}

/// The task.
async fn run(core: Arc<Core>, me: Arc<Container>, mut commands: mpsc::Receiver<Box<Command>>) {
    let mut clock = Clock::default();
    loop {
        clock.set(&me.shared().agenda);
        let command = tokio::select! {
            // What somebody asks for comes before what the container does by itself.
            biased;
            command = commands.recv() => command,
            timer = clock.rings() => {
                me.shared().agenda.take(timer);
                match timer {
                    Timer::Restart => Box::pin(restart::due(&core, &me)).await,
                }
                me.changed.notify_waiters();
                continue;
            }
        };
        let Some(command) = command else { break };
        // Boxed, because their futures are large and a container idles for most of its life.
        match *command {
            Command::Start(reply) => {
                let (result, removed) = Box::pin(start::start(&core, &me, By::Hand)).await;
                let _ = reply.send(result);
                if removed {
                    break;
                }
            }
            Command::Remove { volumes, reply } => {
                let result = Box::pin(remove::remove(&core, &me, volumes)).await;
                let removed = result.is_ok();
                let _ = reply.send(result);
                if removed {
                    break;
                }
            }
            Command::Doom { run, volumes, reply } => {
                let (result, removed) = Box::pin(doom::doom(&core, &me, run, volumes)).await;
                let _ = reply.send(result);
                if removed {
                    break;
                }
            }
            Command::Rename { name, reply } => {
                drop(reply.send(Box::pin(rename::rename(&core, &me, name)).await));
            }
            Command::ByHand { last, reply } => {
                drop(reply.send(Ok(Box::pin(restart::by_hand(&core, &me, last)).await)));
            }
            Command::Again { run, reason, reply } => {
                drop(reply.send(Ok(Box::pin(restart::again(&core, &me, run, &reason)).await)));
            }
            Command::GoOn(reply) => {
                Box::pin(restart::go_on(&core, &me)).await;
                let _ = reply.send(Ok(()));
            }
            Command::Update { wanted, reply } => {
                drop(reply.send(Box::pin(update::update(&core, &me, *wanted)).await));
            }
            Command::TakeUp { told, reply } => {
                let removed = Box::pin(recover::take_up(&core, &me, told)).await;
                let _ = reply.send(Ok(()));
                if removed {
                    break;
                }
            }
            Command::Probed(probed) => Box::pin(health::judged(&core, &me, *probed)).await,
            Command::DropLog(reply) => drop(reply.send(log::empty(&core, &me).await)),
            Command::Shim { generation, report } => {
                if Box::pin(exit::report(&core, &me, generation, report)).await {
                    break;
                }
            }
        }
        me.changed.notify_waiters();
    }
    me.changed.notify_waiters();
}
