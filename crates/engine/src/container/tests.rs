//! Which run of a container something is meant for.

use super::*;
use crate::config::RestartPolicy;
use std::os::unix::net::UnixStream;

/// A container with nothing but a record and, while it runs, the run `generation`.
fn container(status: Status, generation: u64) -> (Arc<Container>, mpsc::Receiver<Box<Command>>, UnixStream) {
    let (queue, commands) = mpsc::channel(MAX_QUEUE);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (link, _) = Link::start(ours, |_| async {}).unwrap();
    let mut record = Record::example();
    record.state.status = status;
    record.state.exit_code = 5;
    let shared = Shared {
        record,
        live: Some(Live::new(link, generation, 2)),
        starting: false,
        pending: Vec::new(),
        tickets: 0,
        restarts: 0,
        holds: 0,
        probe: None,
        waits: Waits::default(),
        agenda: timers::Agenda::default(),
    };
    let me = Arc::new(Container {
        id: shared.record.id.clone(),
        shared: Mutex::new(shared),
        queue,
        changed: Notify::new(),
        standing: Arc::default(),
        generation: AtomicU64::new(generation),
    });
    (me, commands, theirs)
}

#[tokio::test]
async fn what_is_meant_for_an_earlier_run_finds_none() {
    for (status, lives) in [
        (Status::Running, true),
        (Status::Dead, true),
        (Status::Restarting, false),
        (Status::Exited, false),
        (Status::Created, false),
    ] {
        // An ended run's link stays for a while.
        let (me, _commands, _shim) = container(status, 7);
        assert_eq!(me.shared().of_run(7).is_some(), lives, "{status:?}");
        assert!(me.shared().of_run(6).is_none() && me.hold(6).is_none(), "{status:?}");
        let seen = me.shared().seen();
        assert_eq!(seen, Seen { status, run: (status == Status::Running).then_some(7) });
        // The end of an earlier one has come; that of this one is waited for.
        assert_eq!(me.end_of(6).unwrap().try_recv().unwrap().code, 5, "{status:?}");
        assert_eq!(me.end_of(7).unwrap().try_recv().is_ok(), !lives, "{status:?}");
    }
}

#[tokio::test]
async fn a_run_is_asked_to_begin_anew_only_if_it_is_meant() {
    let (me, _commands, _shim) = container(Status::Running, 7);
    assert!(!restart::note_again(&me, 6, "unhealthy"), "an earlier run was unhealthy");
    assert_eq!(me.record().marks.asked, None);
    assert!(restart::note_again(&me, 7, "unhealthy"));
    assert_eq!(me.record().marks.asked.as_deref(), Some("unhealthy"));
    me.shared().record.marks.note(true);
    assert!(!restart::note_again(&me, 7, "unhealthy"), "somebody wants its end");
}

#[tokio::test]
async fn the_next_run_waits_for_who_kills_the_last_ones_group() {
    let (me, _commands, _shim) = container(Status::Running, 7);
    let held = me.hold(7).unwrap();
    me.shared().record.state.status = Status::Exited;
    me.shared().live = None;
    {
        let mut settled = std::pin::pin!(start::settle(&me));
        assert!(tokio::time::timeout(Duration::ZERO, &mut settled).await.is_err());
        drop(held);
        settled.await.unwrap();
    }
    assert!(me.hold(7).is_none());
}

/// What is sent while a start is under way is for what comes of it, however long that takes.
#[tokio::test(start_paused = true)]
async fn who_wants_an_end_waits_for_a_start_that_is_under_way() {
    let (me, mut commands, _shim) = container(Status::Restarting, 7);
    me.shared().live = None;
    me.shared().record.host.restart_policy = RestartPolicy { name: "always".into(), maximum_retry_count: 0 };
    let other = me.clone();
    let asked = tokio::spawn(async move { other.by_hand(true).await });
    let Some(Command::ByHand { last: true, reply }) = commands.recv().await.map(|c| *c) else { panic!("nobody asked") };
    assert!(me.record().marks.last, "the start sees it");
    tokio::time::sleep(10 * MAX_MARK).await;
    assert!(!asked.is_finished());
    let seen = Seen { status: Status::Running, run: Some(8) };
    reply.send(Ok(seen)).unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), seen);
    // And if nothing comes of it, he is not told that it has ended.
    let other = me.clone();
    let asked = tokio::spawn(async move { other.by_hand(true).await });
    let _unanswered = commands.recv().await;
    let e = asked.await.unwrap().unwrap_err();
    assert!(e.kind() == ErrorKind::Unavailable && e.text().contains("is being started"), "{e}");
}

#[tokio::test(start_paused = true)]
async fn an_end_is_not_held_up_by_a_mark_that_is_not_written() {
    let (me, mut commands, _shim) = container(Status::Running, 7);
    me.shared().record.host.restart_policy = RestartPolicy { name: "always".into(), maximum_retry_count: 0 };
    let other = me.clone();
    let asked = tokio::spawn(async move { other.by_hand(true).await });
    let _unanswered = commands.recv().await;
    assert_eq!(asked.await.unwrap().unwrap().run, Some(7));
}

/// Execs and health checks look for their run when they are created, prepared and begun.
#[tokio::test]
async fn what_is_started_in_an_earlier_run_is_not_carried_out_in_this_one() {
    let (me, _commands, _shim) = container(Status::Running, 7);
    me.shared().record.state.pid = 1;
    assert_eq!(me.awake().unwrap().generation, 7);
    assert!(crate::exec::still(&me, 7).is_ok() && me.record_of(7).is_ok());
    for earlier in [crate::exec::still(&me, 6).map(drop), me.record_of(6).map(drop)] {
        assert!(earlier.unwrap_err().text().ends_with("is not running"));
    }
    // The check of this run stays, whatever an earlier one's wants.
    let (_, mut end) = probe::take(&me, 7, "now").unwrap();
    assert_eq!(probe::take(&me, 6, "late").unwrap_err().kind(), ErrorKind::Conflict);
    probe::give_back(&mut me.shared(), "late");
    assert!(me.shared().probe.is_some() && end.try_recv() == Err(oneshot::error::TryRecvError::Empty));
    probe::give_back(&mut me.shared(), "now");
    assert!(me.shared().probe.is_none());
    me.shared().run().unwrap().paused = true;
    assert!(me.awake().unwrap_err().text().contains("is paused") && probe::take(&me, 7, "now").is_err());
    me.shared().record.state.status = Status::Restarting;
    assert!(me.awake().unwrap_err().text().contains("is restarting") && me.record_of(7).is_err());
}

#[tokio::test]
async fn the_next_run_waits_for_who_pauses_the_last_one() {
    let (me, _commands, _shim) = container(Status::Running, 7);
    let (run, held) = crate::pause::mark(&me).unwrap();
    assert!(run == 7 && me.is_paused());
    assert!(crate::pause::mark(&me).unwrap_err().text().contains("already paused"));
    me.shared().record.state.status = Status::Exited;
    me.shared().live = None;
    {
        let mut settled = std::pin::pin!(start::settle(&me));
        assert!(tokio::time::timeout(Duration::ZERO, &mut settled).await.is_err());
        drop(held);
        settled.await.unwrap();
    }
    assert!(crate::pause::mark(&me).unwrap_err().text().ends_with("is not running"));
}
