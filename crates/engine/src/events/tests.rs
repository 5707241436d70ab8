//! Subscribers: replay, live, both, and the slow ones.

use super::*;

fn open(dir: &Path) -> Arc<Events> {
    Arc::new(Events::open(dir).unwrap())
}

fn tell(events: &Events, id: &str) {
    events.tell("container", "start", id, BTreeMap::new());
}

async fn next(stream: &mut EventStream) -> Option<String> {
    stream.events.recv().await.map(|e| e.unwrap().id.clone())
}

fn from_the_beginning() -> EventsRequest {
    EventsRequest { since: Some(Timestamp::UNIX_EPOCH), ..Default::default() }
}

#[tokio::test]
async fn what_was_comes_before_what_comes_and_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let events = open(dir.path());
    tell(&events, "1");
    tell(&events, "2");
    let mut all = subscribe(&events, from_the_beginning()).unwrap();
    let mut live = subscribe(&events, EventsRequest::default()).unwrap();
    tell(&events, "3");
    for want in ["1", "2", "3"] {
        assert_eq!(next(&mut all).await.unwrap(), want);
    }
    assert_eq!(next(&mut live).await.unwrap(), "3");
    // A later daemon knows them, too.
    drop(events);
    let events = open(dir.path());
    tell(&events, "4");
    let past = EventsRequest { until: Some(Timestamp::now()), ..from_the_beginning() };
    let mut past = subscribe(&events, past).unwrap();
    let mut got = Vec::new();
    while let Some(id) = next(&mut past).await {
        got.push(id);
    }
    assert_eq!(got, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_slow_one_finds_in_the_file_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let events = open(dir.path());
    let mut slow = subscribe(&events, EventsRequest::default()).unwrap();
    let count = 10 * MAX_BEHIND;
    for n in 0..count {
        tell(&events, &n.to_string());
    }
    for n in 0..count {
        assert_eq!(next(&mut slow).await.unwrap(), n.to_string());
    }
}

#[tokio::test]
async fn times_are_told_apart_and_ends_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let events = open(dir.path());
    for n in 0..50 {
        tell(&events, &n.to_string());
    }
    let mut all = subscribe(&events, from_the_beginning()).unwrap();
    let mut times = Vec::new();
    for _ in 0..50 {
        times.push(all.events.recv().await.unwrap().unwrap().time);
    }
    assert!(times.windows(2).all(|w| w[0] < w[1]));
    let at = |n: usize| Timestamp::from_nanosecond(i128::from(times[n])).unwrap();
    let some = EventsRequest { since: Some(at(10)), until: Some(at(20)), ..Default::default() };
    let mut some = subscribe(&events, some).unwrap();
    let mut got = Vec::new();
    while let Some(id) = next(&mut some).await {
        got.push(id);
    }
    assert_eq!(got.len(), 11);
    assert_eq!((got[0].as_str(), got[10].as_str()), ("10", "20"));
    let wrong = EventsRequest { since: Some(at(20)), until: Some(at(10)), ..Default::default() };
    let e = subscribe(&events, wrong).unwrap_err();
    assert!(e.text().contains("cannot be after `until` time"), "{e}");
}

const DAY: i64 = 24 * 3600 * 1_000_000_000;

fn at(time: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(time)).unwrap()
}

fn event(id: &str) -> Event {
    let (kind, action) = ("container".to_owned(), "start".to_owned());
    Event { kind, action, id: id.to_owned(), attributes: BTreeMap::new(), time: 0, number: 0 }
}

#[test]
fn times_are_the_clocks_unless_it_is_a_little_behind() {
    let second = MAX_BEHIND_LAST;
    for (last, now, want) in [
        (0, 5, 5),
        (5, 5, 6),
        (5, 4, 6),
        (5 + second, 5, 6 + second),
        // Set back further: the event before was wrong, or this one is, but not all that come.
        (6 + second, 5, 5),
        (DAY, 7, 7),
        (i64::MAX, i64::MAX, i64::MAX),
        (i64::MAX, 7, 7),
        (0, -7, 1),
        (-DAY, 7, 7),
    ] {
        let next = Mark { number: 9, time: last }.next(now);
        assert_eq!(next, Mark { number: 10, time: want }, "{last} {now}");
    }
}

/// A machine that booted with a clock a year ahead, and got the right time from the network then.
#[tokio::test]
async fn a_clock_that_was_ahead_once_spoils_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let events = open(dir.path());
    let right = now();
    events.tell_at(right + 365 * DAY, event("ahead"));
    // Also for a later daemon, which finds that one in the file.
    drop(events);
    let events = open(dir.path());
    events.tell_at(right, event("right"));
    events.tell_at(right + 1, event("after"));
    let request = EventsRequest { since: Some(at(right - DAY)), until: Some(at(right + 1)), ..Default::default() };
    let mut past = subscribe(&events, request).unwrap();
    let mut got = Vec::new();
    while let Some(event) = past.events.recv().await {
        let event = event.unwrap();
        got.push((event.id.clone(), event.time));
    }
    assert_eq!(got, [("right".to_owned(), right), ("after".to_owned(), right + 1)]);
}

#[tokio::test]
async fn a_slow_one_misses_and_repeats_nothing_while_the_clock_jumps() {
    let dir = tempfile::tempdir().unwrap();
    let events = open(dir.path());
    let mut slow = subscribe(&events, EventsRequest::default()).unwrap();
    let count = 4 * MAX_BEHIND;
    let right = now();
    for n in 0..count {
        // Ahead, back, ahead, back: each second one is a day before its neighbours.
        events.tell_at(right - (n as i64 % 2) * DAY, event(&n.to_string()));
    }
    for n in 0..count {
        assert_eq!(next(&mut slow).await.unwrap(), n.to_string());
    }
    events.tell_at(right, event("last"));
    assert_eq!(next(&mut slow).await.unwrap(), "last");
}
