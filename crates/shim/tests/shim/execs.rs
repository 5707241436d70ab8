//! Exec processes.

use crate::Case;
use crate::place::*;
use dhow_shim::protocol::*;
use dhow_types::{ErrorKind, Result};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

pub const CASES: &[Case] = &[
    ("execs::output_input_and_exit_code", output_input_and_exit_code),
    ("execs::detached_execs_need_no_client", detached_execs_need_no_client),
    ("execs::a_missing_program_is_said", a_missing_program_is_said),
    ("execs::terminal_resize_and_signal", terminal_resize_and_signal),
    ("execs::a_background_process_does_not_hang_the_client", a_background_process_does_not_hang_the_client),
    ("execs::the_end_of_the_container_ends_them", the_end_of_the_container_ends_them),
    ("execs::detach_keys", detach_keys),
    ("execs::one_id_one_process", one_id_one_process),
    ("execs::output_is_kept_for_who_asks", output_is_kept_for_who_asks),
    ("execs::what_takes_too_long_is_ended_with_its_children", what_takes_too_long_is_ended_with_its_children),
];

fn exec(id: &str, args: &[&str]) -> Exec {
    Exec {
        exec_id: id.into(),
        process: process(args),
        seccomp: ExecSeccomp::Inherit,
        open_stdin: false,
        attach: None,
        pid_file: None,
        capture: None,
    }
}

/// Starts `exec` with a client.
fn start(container: &mut Container, mut exec: Exec, stdin: bool) -> Result<(i32, Client)> {
    let (mine, theirs) = UnixStream::pair().unwrap();
    exec.open_stdin = stdin;
    exec.attach = Some(AttachOptions { framed: !exec.process.terminal, ..options(stdin) });
    match container.connection.call(Request::Exec(Box::new(exec)), &[theirs.as_fd()])? {
        Reply::ExecStarted { pid, .. } => Ok((pid, Client::new(mine))),
        other => panic!("{other:?}"),
    }
}

fn exit_of(container: &mut Container, id: &str) -> i32 {
    loop {
        match container.connection.event().unwrap().unwrap() {
            Event::ExecExited { exec_id, exit_code, .. } if exec_id == id => return exit_code,
            _ => continue,
        }
    }
}

fn sleeper(place: &Place) -> Container {
    place.run(&["/bin/sleep", "1000"]).start()
}

fn end(mut container: Container) {
    container.kill();
    assert_eq!(container.wait().exit_code, 137);
    container.wait_gone();
}

fn output_input_and_exit_code() {
    let place = Place::new();
    let mut container = sleeper(&place);
    let (_, mut client) =
        start(&mut container, exec("a", &["/bin/sh", "-c", "cat; echo err >&2; exit 5"]), true).unwrap();
    client.send("in\n");
    client.half_close();
    assert_eq!(unframe(&client.rest()), (b"in\n".to_vec(), b"err\n".to_vec()));
    assert_eq!(exit_of(&mut container, "a"), 5);
    // Its output is not the container's.
    assert_eq!(container.log(), []);
    assert_eq!(container.state().execs, []);
    end(container);
}

fn detached_execs_need_no_client() {
    let place = Place::new();
    let mut container = sleeper(&place);
    for (id, terminal) in [("plain", false), ("terminal", true)] {
        let mut exec = exec(id, &["/bin/sh", "-c", "seq 1 100000; exit 6"]);
        exec.process.terminal = terminal;
        exec.pid_file = Some(place.dir.path().join(id));
        let Reply::ExecStarted { pid, .. } = container.call(Request::Exec(Box::new(exec))).unwrap() else { panic!() };
        assert_eq!(std::fs::read_to_string(place.dir.path().join(id)).unwrap(), pid.to_string());
        assert_eq!(exit_of(&mut container, id), 6);
    }
    end(container);
}

fn a_missing_program_is_said() {
    let place = Place::new();
    let mut container = sleeper(&place);
    let e = start(&mut container, exec("a", &["nosuch"]), false).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::CommandNotFound, "{e}");
    assert_eq!(container.state().execs, []);
    let fds = open_fds(container.shim_pid);
    let e = start(&mut container, exec("a", &["/etc"]), false).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::CommandNotExecutable, "{e}");
    assert_eq!(open_fds(container.shim_pid), fds);
    end(container);
}

fn terminal_resize_and_signal() {
    let place = Place::new();
    let mut container = sleeper(&place);
    let mut shell = exec("t", &["/bin/sh", "-c", "stty size; read x; stty size; exec sleep 1000"]);
    shell.process.terminal = true;
    shell.process.console_size = Some(Size { height: 10, width: 20 });
    let (pid, mut client) = start(&mut container, shell, true).unwrap();
    client.expect("10 20\r\n");
    let exec_id = || Some("t".to_owned());
    container.call(Request::Resize { exec_id: exec_id(), width: 90, height: 50 }).unwrap();
    client.send("\n");
    client.expect("50 90\r\n");
    assert_eq!(container.state().execs, [("t".to_owned(), pid)]);
    until("sleep runs", || std::fs::read(format!("/proc/{pid}/cmdline")).unwrap().starts_with(b"sleep"));
    container.call(Request::Signal { exec_id: exec_id(), signo: 15, all: false }).unwrap();
    client.rest();
    assert_eq!(exit_of(&mut container, "t"), 128 + 15);
    let e = container.call(Request::Resize { exec_id: exec_id(), width: 1, height: 1 }).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    end(container);
}

fn a_background_process_does_not_hang_the_client() {
    let place = Place::new();
    let mut container = sleeper(&place);
    let begin = Instant::now();
    let (_, mut client) =
        start(&mut container, exec("a", &["/bin/sh", "-c", "sleep 1000 & echo started"]), false).unwrap();
    assert_eq!(unframe(&client.rest()).0, b"started\n");
    assert_eq!(exit_of(&mut container, "a"), 0);
    assert!(begin.elapsed() < PATIENCE);
    // What comes soon after the end is still heard.
    let late = exec("b", &["/bin/sh", "-c", "(sleep 0.1; echo late) & echo first"]);
    let (_, mut client) = start(&mut container, late, false).unwrap();
    assert_eq!(unframe(&client.rest()).0, b"first\nlate\n");
    end(container);
}

fn the_end_of_the_container_ends_them() {
    let place = Place::new();
    let mut container = sleeper(&place);
    let (pid, mut client) = start(&mut container, exec("a", &["/bin/sleep", "1000"]), false).unwrap();
    container.kill();
    assert_eq!(client.rest(), b"");
    assert_eq!(exit_of(&mut container, "a"), 137);
    assert_eq!(container.wait().exit_code, 137);
    container.wait_gone();
    assert!(!alive(pid));
}

fn detach_keys() {
    let place = Place::new();
    let mut container = sleeper(&place);
    let mut shell = exec("a", &["/bin/sh", "-c", "echo ready; read x; exit 8"]);
    shell.process.terminal = true;
    let (_, mut client) = start(&mut container, shell, true).unwrap();
    client.expect("ready");
    client.send("\x10\x11");
    client.rest();
    assert_eq!(container.connection.event().unwrap(), Some(Event::Detached { exec_id: Some("a".into()) }));
    assert_eq!(container.state().execs.len(), 1);
    end(container);
}

fn one_id_one_process() {
    let place = Place::new();
    let mut container = sleeper(&place);
    let (_, _client) = start(&mut container, exec("a", &["/bin/sleep", "1000"]), false).unwrap();
    let e = start(&mut container, exec("a", &["/bin/sleep", "1000"]), false).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    end(container);
}

/// Runs `script` to its end with its output kept.
fn kept(container: &mut Container, script: &str, capture: Capture) -> (i32, Captured) {
    let order = Exec { capture: Some(capture), ..exec(script, &["/bin/sh", "-c", script]) };
    container.connection.call(Request::Exec(Box::new(order)), &[]).unwrap();
    loop {
        match container.connection.event().unwrap().unwrap() {
            Event::ExecExited { exec_id, exit_code, captured } if exec_id == script => {
                return (exit_code, captured.unwrap());
            }
            _ => continue,
        }
    }
}

fn output_is_kept_for_who_asks() {
    let place = Place::new();
    let mut container = sleeper(&place);
    let capture = |limit| Capture { limit, timeout_ms: None };
    let (code, got) = kept(&mut container, "echo out; echo err >&2; echo out; exit 3", capture(4096));
    let whole = |text: &str| Captured { text: text.into(), cut: false, timed_out: false };
    assert_eq!((code, got), (3, whole("out\nerr\nout\n")));
    assert_eq!(kept(&mut container, "true", capture(4096)), (0, whole("")));
    // Far more than a pipe holds: nothing waits for a reader.
    let (code, got) = kept(&mut container, "yes | head -c 1000000", capture(5));
    assert_eq!((code, got), (0, Captured { cut: true, ..whole("y\ny\ny") }));
    // Something that stays behind does not hold the answer up.
    let (code, got) = kept(&mut container, "sleep 1000 & echo here", capture(4096));
    assert_eq!((code, got), (0, whole("here\n")));
    let order = Exec { capture: Some(capture(1)), ..exec("t", &["/bin/true"]) };
    let refused = start(&mut container, order, false).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidParameter, "{refused}");
    assert_eq!(container.log(), []);
    end(container);
}

fn what_takes_too_long_is_ended_with_its_children() {
    let place = Place::new();
    let mut container = sleeper(&place);
    let script = "echo $$; sleep 1001 & sleep 1002; exit 0";
    let (code, got) = kept(&mut container, script, Capture { limit: 4096, timeout_ms: Some(300) });
    assert_eq!((code, got.timed_out, got.cut), (137, true, false));
    until("the children are gone", || {
        let (code, got) = kept(&mut container, "ps | grep 'sleep 100[12]$'", Capture { limit: 4096, timeout_ms: None });
        assert!(code == 1 || !got.text.is_empty());
        code == 1
    });
    // What ends in time is not touched.
    let (code, got) = kept(&mut container, "exit 7", Capture { limit: 4096, timeout_ms: Some(600_000) });
    assert_eq!((code, got.timed_out), (7, false));
    end(container);
}
