//! The control connections themselves.

use crate::Case;
use crate::place::*;
use dhow_shim::client::Connection;
use dhow_shim::protocol::*;
use dhow_types::ErrorKind;
use std::io::{Read, Write};

pub const CASES: &[Case] = &[
    ("control::a_fresh_shim_says_hello", a_fresh_shim_says_hello),
    ("control::another_protocol_is_refused", another_protocol_is_refused),
    ("control::state_and_subscription", state_and_subscription),
    ("control::nonsense_ends_the_connection_only", nonsense_ends_the_connection_only),
    ("control::a_peer_that_does_not_read_is_dropped", a_peer_that_does_not_read_is_dropped),
    ("control::strange_requests_are_refused", strange_requests_are_refused),
    ("control::more_connections_wait_for_a_place", more_connections_wait_for_a_place),
];

fn a_fresh_shim_says_hello() {
    let place = Place::new();
    let mut pids = Vec::new();
    for _ in 0..5 {
        let mut connection = Connection::new(place.zygote().connect().unwrap());
        let Reply::Hello { protocol, pid } = connection.call(Request::Hello, &[]).unwrap() else { panic!() };
        assert_eq!(protocol, VERSION);
        assert_eq!(connection.call(Request::State, &[]).unwrap_err().kind(), ErrorKind::Conflict);
        pids.push(pid);
        drop(connection);
        until("a shim without a container ends with its connection", || !alive(pid));
    }
    pids.dedup();
    assert_eq!(pids.len(), 5);
}

fn another_protocol_is_refused() {
    let place = Place::new();
    let e = place.run(&["/bin/true"]).with(|l| l.protocol = VERSION + 1).try_start().unwrap_err();
    assert!(e.kind() == ErrorKind::InvalidParameter && e.text().contains("protocol"), "{e}");
}

fn state_and_subscription() {
    let place = Place::new();
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    let state = container.state();
    assert_eq!((state.pid, state.shim_pid, state.protocol), (container.pid, container.shim_pid, VERSION));
    assert!(state.exit.is_none() && state.started_at.ends_with('Z') && state.id == "c1");
    let (mut deaf, mut hears) = (container.reconnect(), container.reconnect());
    let Reply::State(seen) = hears.call(Request::Subscribe, &[]).unwrap() else { panic!() };
    assert_eq!(seen, state);
    deaf.call(Request::State, &[]).unwrap();
    container.kill();
    let Some(Event::Exited(status)) = hears.event().unwrap() else { panic!() };
    assert_eq!((status.exit_code, status.signal), (137, Some(9)));
    assert_eq!(container.wait(), status);
    assert_eq!(deaf.event().unwrap(), None);
    assert_eq!(hears.event().unwrap(), None);
}

fn nonsense_ends_the_connection_only() {
    let place = Place::new();
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[4, 0, 0, 0, b'n', b'u', b'l', b'l']] {
        let mut stream = dhow_shim::client::connect(&container.socket).unwrap();
        stream.write_all(bytes).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        // A reset is as good as an end.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"");
    }
    assert_eq!(container.state().pid, container.pid);
    container.kill();
    container.wait();
}

fn a_peer_that_does_not_read_is_dropped() {
    let place = Place::new();
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    let stream = dhow_shim::client::connect(&container.socket).unwrap();
    stream.set_nonblocking(true).unwrap();
    let frame = dhow_shim::encode_call(1, Request::State, 0).unwrap();
    until("the shim gives up on a peer that asks and never reads", || {
        for _ in 0..100 {
            match (&stream).write(&frame) {
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return false,
                Err(_) => return true,
                Ok(n) => assert_eq!(n, frame.len()),
            }
        }
        false
    });
    assert_eq!(container.state().pid, container.pid);
    container.kill();
    container.wait();
}

fn strange_requests_are_refused() {
    let place = Place::new();
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    let unknown = || Some("nosuch".to_owned());
    for (request, kind) in [
        (Request::Resize { exec_id: None, width: 1, height: 1 }, ErrorKind::Conflict),
        (Request::Resize { exec_id: unknown(), width: 1, height: 1 }, ErrorKind::NotFound),
        (Request::Signal { exec_id: None, signo: 99, all: false }, ErrorKind::InvalidParameter),
        (Request::Signal { exec_id: unknown(), signo: 9, all: false }, ErrorKind::NotFound),
        (Request::Signal { exec_id: None, signo: 15, all: true }, ErrorKind::NotImplemented),
        (Request::CloseStdin { exec_id: unknown() }, ErrorKind::NotFound),
        (Request::Attach { exec_id: None, options: options(false) }, ErrorKind::InvalidParameter),
    ] {
        let text = format!("{request:?}");
        assert_eq!(container.call(request).unwrap_err().kind(), kind, "{text}");
    }
    let again = place.run(&["/bin/true"]).launch;
    assert_eq!(container.call(Request::Launch(Box::new(again))).unwrap_err().kind(), ErrorKind::Conflict);
    container.kill();
    container.wait();
}

fn more_connections_wait_for_a_place() {
    let place = Place::new();
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    let mut many: Vec<Connection> = (0..MAX_CONNECTIONS + 3).map(|_| container.reconnect()).collect();
    let mut last = many.pop().unwrap();
    until_idle(container.shim_pid);
    let waiting = std::thread::spawn(move || {
        last.call(Request::State, &[]).unwrap();
    });
    many.clear();
    waiting.join().unwrap();
    container.kill();
    container.wait();
}
