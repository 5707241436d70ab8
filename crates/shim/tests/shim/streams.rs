//! Stdio through pipes: attached clients, the log, and what can go wrong between them.

use crate::Case;
use crate::place::*;
use dhow_shim::protocol::*;
use std::io::{Read, Write};

pub const CASES: &[Case] = &[
    ("streams::output_reaches_clients_log_and_exit_file", output_reaches_clients_log_and_exit_file),
    ("streams::input_ends_with_the_clients_half_close", input_ends_with_the_clients_half_close),
    ("streams::a_megabyte_goes_through_both_ways", a_megabyte_goes_through_both_ways),
    ("streams::without_stdin_once_a_client_leaves_stdin_open", without_stdin_once_a_client_leaves_stdin_open),
    ("streams::leftover_input_comes_first", leftover_input_comes_first),
    ("streams::a_client_that_vanishes_hurts_nobody", a_client_that_vanishes_hurts_nobody),
    ("streams::a_client_that_vanishes_with_input_unread", a_client_that_vanishes_with_input_unread),
    ("streams::a_slow_client_slows_the_container", a_slow_client_slows_the_container),
    ("streams::nobody_needs_to_read", nobody_needs_to_read),
    ("streams::a_flood_gets_a_wider_pipe_and_stays_whole", a_flood_gets_a_wider_pipe_and_stays_whole),
    ("streams::a_client_may_read_after_the_end", a_client_may_read_after_the_end),
    ("streams::stdout_closed_early_leaves_stderr", stdout_closed_early_leaves_stderr),
    ("streams::unread_input_does_not_reset_the_client", unread_input_does_not_reset_the_client),
    ("streams::a_background_process_does_not_hang_the_end", a_background_process_does_not_hang_the_end),
    ("streams::long_lines_are_cut_in_the_log", long_lines_are_cut_in_the_log),
    ("streams::a_full_log_rotates", a_full_log_rotates),
    ("streams::stdin_can_be_closed_by_request", stdin_can_be_closed_by_request),
    ("streams::clients_choose_their_streams", clients_choose_their_streams),
    ("streams::too_many_clients_are_refused", too_many_clients_are_refused),
];

fn framed() -> AttachOptions {
    AttachOptions { framed: true, ..options(false) }
}

fn output_reaches_clients_log_and_exit_file() {
    let place = Place::new();
    let mut order = place.shell("echo out; echo err >&2; printf last; exit 3");
    let (mut one, mut two) = (order.client(framed()), order.client(options(false)));
    let mut container = order.start();
    assert_eq!(container.warnings, Vec::<String>::new());
    assert_eq!(unframe(&one.rest()), (b"out\nlast".to_vec(), b"err\n".to_vec()));
    let mut raw: Vec<char> = two.text().chars().collect();
    raw.sort_unstable();
    let mut want: Vec<char> = "out\nlasterr\n".chars().collect();
    want.sort_unstable();
    assert_eq!(raw, want);
    let status = container.wait();
    assert_eq!((status.exit_code, status.signal, status.pid, status.oom_killed), (3, None, container.pid, false));
    let log = container.log();
    let of = |stream: &str| log.iter().filter(|(s, _)| s == stream).map(|(_, l)| l.as_str()).collect::<Vec<_>>();
    assert_eq!(of("stdout"), ["out\n", "last"]);
    assert_eq!(of("stderr"), ["err\n"]);
    container.wait_gone();
}

fn input_ends_with_the_clients_half_close() {
    let place = Place::new();
    let mut order = place.shell("cat; echo end").stdin(true);
    let mut client = order.client(options(true));
    let mut container = order.start();
    client.send("one\ntwo\n");
    client.half_close();
    assert_eq!(client.text(), "one\ntwo\nend\n");
    assert_eq!(container.wait().exit_code, 0);
}

fn a_megabyte_goes_through_both_ways() {
    let place = Place::new();
    let mut order = place.shell("cat").stdin(true).with(|l| l.log = LogConfig::None);
    let mut client = order.client(options(true));
    let mut container = order.start();
    let sent: Vec<u8> = (0..1_000_003u32).map(|n| (n * 7 + n / 251) as u8).collect();
    let mut writer = client.stream.try_clone().unwrap();
    let data = sent.clone();
    // The zygote is another process by now, so that this one may have threads.
    let feeder = std::thread::spawn(move || {
        writer.write_all(&data).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let got = client.rest();
    feeder.join().unwrap();
    assert!(got == sent, "{} bytes of {} came back", got.len(), sent.len());
    assert_eq!(container.wait().exit_code, 0);
}

fn without_stdin_once_a_client_leaves_stdin_open() {
    let place = Place::new();
    let mut order = place.shell("cat").stdin(false);
    let mut first = order.client(options(true));
    let mut container = order.start();
    first.send("a\n");
    first.expect("a\n");
    first.half_close();
    // As in Docker, the end of its input is the end of its session.
    assert_eq!(first.text(), "a\n");
    let mut second = container.attach(options(true)).unwrap();
    second.send("b\n");
    second.expect("b\n");
    container.kill();
    assert_eq!(container.wait().exit_code, 137);
    assert_eq!(second.text(), "b\n");
}

fn leftover_input_comes_first() {
    let place = Place::new();
    let mut order = place.shell("cat").stdin(true);
    let mut client = order.client(AttachOptions { leftover: b"early ".to_vec(), ..options(true) });
    let mut container = order.start();
    client.send("late");
    client.half_close();
    assert_eq!(client.text(), "early late");
    assert_eq!(container.wait().exit_code, 0);
}

fn a_client_that_vanishes_hurts_nobody() {
    let place = Place::new();
    let mut order = place.shell("while read line; do echo got $line; done; echo end of input").stdin(true);
    let mut gone = order.client(options(false));
    let mut stays = order.client(options(true));
    let mut container = order.start();
    stays.send("1\n");
    gone.expect("got 1");
    drop(gone);
    stays.send("2\n");
    stays.expect("got 2");
    until("the shim lets go of the client", || container.state().clients == 1);
    drop(stays);
    // It was the one whose end is the end of the input.
    assert_eq!(container.wait().exit_code, 0);
    assert_eq!(container.log().last().unwrap().1, "end of input\n");
}

fn a_client_that_vanishes_with_input_unread() {
    let place = Place::new();
    // Never reads its input: the queue, the pipe and the socket fill up.
    let mut order = place.run(&["/bin/sleep", "1000"]).stdin(true);
    let mut client = order.client(options(true));
    let mut container = order.start();
    client.stream.set_nonblocking(true).unwrap();
    until("the way to the container is full", || {
        let full = matches!(client.stream.write(&[b'x'; 65536]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock);
        full && process_state(container.shim_pid) == Some('S')
    });
    drop(client);
    until_idle(container.shim_pid);
    container.kill();
    assert_eq!(container.wait().exit_code, 137);
    container.wait_gone();
}

fn a_slow_client_slows_the_container() {
    const SIZE: usize = 8 << 20;
    let place = Place::new();
    let mut order = place.run(&["/bin/head", "-c", &SIZE.to_string(), "/dev/zero"]).with(|l| l.log = LogConfig::None);
    let mut client = order.client(options(false));
    let mut container = order.start();
    // With nobody reading, the writer stops when the pipe, the queue and the socket are full.
    until_idle(container.pid);
    until_idle(container.shim_pid);
    assert!(container.state().exit.is_none(), "the container ended although its output has no place to go");
    let rss = memory_kib(container.shim_pid, "Private_Dirty");
    assert!(rss < 1024, "{rss} KiB are queued for one client");
    let mut got = 0;
    let mut buffer = vec![1; 7001];
    loop {
        let n = client.stream.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        assert!(buffer[..n].iter().all(|b| *b == 0));
        got += n;
    }
    assert_eq!(got, SIZE);
    assert_eq!(container.wait().exit_code, 0);
}

fn nobody_needs_to_read() {
    let place = Place::new();
    let order = place.run(&["/bin/head", "-c", "8000000", "/dev/zero"]).with(|l| l.log = LogConfig::None);
    let mut container = order.start();
    assert_eq!(container.wait().exit_code, 0);
    assert!(!container.log_path().exists());
}

/// Read in larger pieces, from a larger pipe; every byte still comes once, in its order, to the client and to the log.
fn a_flood_gets_a_wider_pipe_and_stays_whole() {
    const LINE: &str = "a line of a program that says very much\n";
    const LINES: usize = 400_000;
    let place = Place::new();
    let count = LINE.len() * LINES;
    let script = format!("yes '{}' | head -c {count}; echo end >&2; read x", LINE.trim_end());
    let mut order = place.shell(&script).stdin(true);
    let mut client = order.client(AttachOptions { stderr: false, ..options(true) });
    let mut container = order.start();
    let want = LINE.repeat(LINES);
    let mut seen = vec![0; count];
    client.stream.read_exact(&mut seen).unwrap();
    assert!(seen == want.as_bytes(), "the client got something else");
    let pipe = std::fs::File::open(format!("/proc/{}/fd/1", container.pid)).unwrap();
    let holds = rustix::pipe::fcntl_getpipe_size(&pipe).unwrap();
    assert!(holds >= 256 << 10, "{holds}");
    // The other pipe carried nothing.
    let pipe = std::fs::File::open(format!("/proc/{}/fd/2", container.pid)).unwrap();
    assert_eq!(rustix::pipe::fcntl_getpipe_size(&pipe).unwrap(), 64 << 10);
    client.send("\n");
    assert_eq!(container.wait().exit_code, 0);
    let log = container.log();
    assert!(
        log.iter().filter(|(stream, line)| stream == "stdout" && line == LINE).count() == LINES,
        "the log lacks lines"
    );
    assert_eq!(log.len(), LINES + 1);
}

fn a_client_may_read_after_the_end() {
    const SIZE: usize = 180_000;
    let place = Place::new();
    let mut order = place.run(&["/bin/head", "-c", &SIZE.to_string(), "/dev/zero"]);
    let mut client = order.client(options(false));
    let mut container = order.start();
    // Neither the event nor the end of the control connection waits for the client.
    assert_eq!(container.wait().exit_code, 0);
    container.wait_gone();
    assert_eq!(client.rest().len(), SIZE);
    until("the shim ends", || !alive(container.shim_pid));
}

fn stdout_closed_early_leaves_stderr() {
    let place = Place::new();
    let mut order = place.shell("echo first; exec >&-; read line; echo $line >&2").stdin(true);
    let mut client = order.client(AttachOptions { framed: true, ..options(true) });
    let mut container = order.start();
    client.send("still here\n");
    assert_eq!(unframe(&client.rest()), (b"first\n".to_vec(), b"still here\n".to_vec()));
    assert_eq!(container.wait().exit_code, 0);
}

fn unread_input_does_not_reset_the_client() {
    let place = Place::new();
    let mut order = place.shell("read line; exec <&-; echo done $line").stdin(true);
    let mut client = order.client(options(true));
    client.send("one\n");
    client.send(vec![b'x'; 150_000]);
    let mut container = order.start();
    assert_eq!(client.text(), "done one\n");
    assert_eq!(container.wait().exit_code, 0);
}

fn a_background_process_does_not_hang_the_end() {
    let place = Place::new();
    let mut order = place.shell("sleep 1000 & echo started; exit 4");
    let mut client = order.client(options(false));
    let mut container = order.start();
    assert_eq!(client.text(), "started\n");
    assert_eq!(container.wait().exit_code, 4);
    container.wait_gone();
}

fn long_lines_are_cut_in_the_log() {
    let place = Place::new();
    let mut container = place.shell("head -c 40000 /dev/zero | tr '\\0' x; echo; echo short").start();
    container.wait();
    let lengths: Vec<usize> = container.log().iter().map(|(_, l)| l.len()).collect();
    assert_eq!(lengths, [16384, 16384, 40001 - 2 * 16384, 6]);
}

fn a_full_log_rotates() {
    let place = Place::new();
    let order = place.shell("seq 1 2000").with(|l| {
        if let LogConfig::JsonFile { max_size, max_files, .. } = &mut l.log {
            (*max_size, *max_files) = (20_000, 3);
        }
    });
    let mut container = order.start();
    container.wait();
    let mut older = container.log_path().into_os_string();
    older.push(".1");
    let mut lines = log_lines(older.as_ref());
    lines.extend(container.log());
    let numbers: Vec<u32> = lines.iter().map(|(_, l)| l.trim().parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|w| w[0] + 1 == w[1]) && numbers.last() == Some(&2000), "{numbers:?}");
}

fn stdin_can_be_closed_by_request() {
    let place = Place::new();
    let mut order = place.shell("cat; echo end").stdin(false);
    let mut client = order.client(options(true));
    let mut container = order.start();
    client.send("x\n");
    client.expect("x\n");
    container.call(Request::CloseStdin { exec_id: None }).unwrap();
    assert_eq!(client.text(), "x\nend\n");
    assert_eq!(container.wait().exit_code, 0);
}

fn clients_choose_their_streams() {
    let place = Place::new();
    let mut order = place.shell("read go; echo out; echo err >&2").stdin(true);
    let mut out = order.client(AttachOptions { stderr: false, ..options(false) });
    let mut err = order.client(AttachOptions { stdout: false, ..options(false) });
    let mut feed = order.client(AttachOptions { stdout: false, stderr: false, ..options(true) });
    let mut container = order.start();
    feed.send("go\n");
    assert_eq!((out.text().as_str(), err.text().as_str(), feed.text().as_str()), ("out\n", "err\n", ""));
    container.wait();
}

fn too_many_clients_are_refused() {
    let place = Place::new();
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    let clients: Vec<_> = (0..MAX_CLIENTS).map(|_| container.attach(options(false)).unwrap()).collect();
    let e = container.attach(options(false)).unwrap_err();
    assert_eq!(e.kind(), dhow_types::ErrorKind::Exhausted);
    drop(clients);
    until("the clients are let go", || container.state().clients == 0);
    container.attach(options(false)).unwrap();
    container.kill();
    container.wait();
}
