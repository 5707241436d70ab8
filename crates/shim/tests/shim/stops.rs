//! Stop signals, and who hears them.

use crate::Case;
use crate::place::*;
use dhow_shim::protocol::*;

pub const CASES: &[Case] = &[("stops::who_hears_a_stop_is_told", who_hears_a_stop_is_told)];

fn who_hears_a_stop_is_told() {
    let place = Place::new();
    let deaf = |program: &str, ignored| Some(Unheeded { program: program.into(), ignored });
    for (script, ready, want) in [
        ("exec sleep 1000", false, deaf("sleep", false)),
        ("trap '' TERM; echo ready; read x", true, deaf("sh", true)),
        ("trap 'exit 7' TERM; echo ready; while :; do read -t 1 x; done", true, None),
    ] {
        let mut container = place.run(&["/bin/sh", "-c", script]).with(|l| l.open_stdin = true).start();
        if !ready {
            until("the program that is executed", || {
                std::fs::read_to_string(format!("/proc/{}/comm", container.pid)).is_ok_and(|name| name == "sleep\n")
            });
        } else {
            until("the handler", || container.log().iter().any(|(_, line)| line == "ready\n"));
        }
        let reply = container.connection.call(Request::Stop { signo: 15 }, &[]).unwrap();
        let Reply::Stopping { unheeded } = reply else { panic!("{reply:?}") };
        assert_eq!(unheeded, want, "{script}");
        if want.is_some() {
            container.kill();
        }
        let code = container.wait().exit_code;
        assert_eq!(code, if want.is_some() { 137 } else { 7 }, "{script}");
    }
}
