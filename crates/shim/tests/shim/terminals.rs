//! Containers and execs with a terminal.

use crate::Case;
use crate::place::*;
use dhow_shim::protocol::*;

pub const CASES: &[Case] = &[
    ("terminals::a_terminal_echoes_and_has_a_size", a_terminal_echoes_and_has_a_size),
    ("terminals::detach_keys_let_the_client_go", detach_keys_let_the_client_go),
    ("terminals::ctrl_c_reaches_the_program", ctrl_c_reaches_the_program),
    ("terminals::closing_the_terminal_for_a_while_is_no_end", closing_the_terminal_for_a_while_is_no_end),
    ("terminals::the_last_words_are_heard", the_last_words_are_heard),
    ("terminals::a_background_process_does_not_hang_the_terminal", a_background_process_does_not_hang_the_terminal),
];

fn a_terminal_echoes_and_has_a_size() {
    let place = Place::new();
    let mut order = place.shell("stty size; read line; stty size; read line; echo bye").terminal().stdin(true);
    order.launch.spec.process.as_mut().unwrap().console_size = Some(Size { height: 33, width: 77 });
    let mut client = order.client(options(true));
    let mut container = order.start();
    client.expect("33 77\r\n");
    container.call(Request::Resize { exec_id: None, width: 120, height: 40 }).unwrap();
    client.send("hello\n");
    client.expect("hello\r\n");
    client.expect("40 120\r\n");
    client.send("\n");
    assert!(client.text().ends_with("bye\r\n"));
    assert_eq!(container.wait().exit_code, 0);
    assert!(container.log().iter().any(|(stream, line)| stream == "stdout" && line == "bye\r\n"));
}

fn detach_keys_let_the_client_go() {
    let place = Place::new();
    let mut order = place.shell("while read line; do echo got $line; done").terminal().stdin(true);
    let mut client = order.client(options(true));
    let mut container = order.start();
    client.send("one\n");
    client.expect("got one");
    client.send("\x10\x11never\n");
    client.rest();
    assert_eq!(container.connection.event().unwrap(), Some(Event::Detached { exec_id: None }));
    // The container goes on, with its stdin open although it was attached with stdin_once.
    let mut again = container.attach(AttachOptions { detach_keys: Some(b"abc".to_vec()), ..options(true) }).unwrap();
    again.send("\x10\x11abx\n");
    again.expect("got");
    assert!(!String::from_utf8_lossy(&again.got).contains("never"));
    again.send("abc");
    again.rest();
    assert_eq!(container.connection.event().unwrap(), Some(Event::Detached { exec_id: None }));
    container.kill();
    assert_eq!(container.wait().exit_code, 137);
}

fn ctrl_c_reaches_the_program() {
    let place = Place::new();
    let mut order = place.shell("trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.01; done");
    order = order.terminal().stdin(true);
    let mut client = order.client(options(true));
    let mut container = order.start();
    client.expect("ready");
    client.send("\x03");
    client.expect("interrupted");
    assert_eq!(container.wait().exit_code, 9);
}

fn closing_the_terminal_for_a_while_is_no_end() {
    let place = Place::new();
    let mut order = place.shell("echo one; exec <&- >&- 2>&-; sleep 0.2; exec >/dev/console; echo back").terminal();
    let mut client = order.client(options(false));
    let mut container = order.start();
    client.expect("back");
    assert_eq!(container.wait().exit_code, 0);
}

fn the_last_words_are_heard() {
    let place = Place::new();
    for n in 0..20 {
        let mut order = place.shell("seq 1 300; echo last").terminal();
        let mut client = order.client(options(false));
        let mut container = order.start();
        let text = client.text();
        assert!(text.ends_with("300\r\nlast\r\n"), "round {n}: {} bytes", text.len());
        container.wait();
    }
}

fn a_background_process_does_not_hang_the_terminal() {
    let place = Place::new();
    let mut order = place.shell("setsid sleep 1000 & echo started; exit 0").terminal();
    let mut client = order.client(options(false));
    let mut container = order.start();
    assert!(client.text().contains("started"));
    assert_eq!(container.wait().exit_code, 0);
    container.wait_gone();
}
