//! Who may die when: client, daemon, shim, zygote; and what is left of a start that fails.

use crate::Case;
use crate::place::*;
use dhow_shim::client::{Connection, Zygote};
use dhow_shim::protocol::*;
use dhow_types::ErrorKind;

pub const CASES: &[Case] = &[
    ("life::a_daemon_may_die_and_come_back", a_daemon_may_die_and_come_back),
    ("life::an_exit_without_a_daemon_is_on_disk", an_exit_without_a_daemon_is_on_disk),
    ("life::a_killed_shim_takes_its_container_along", a_killed_shim_takes_its_container_along),
    ("life::signals_that_end_programs_do_not_end_a_shim", signals_that_end_programs_do_not_end_a_shim),
    ("life::a_killed_zygote_is_replaced", a_killed_zygote_is_replaced),
    ("life::a_zygote_goes_when_its_socket_goes", a_zygote_goes_when_its_socket_goes),
    ("life::two_callers_start_one_zygote", two_callers_start_one_zygote),
    ("life::a_failed_start_leaves_nothing", a_failed_start_leaves_nothing),
    ("life::signals_have_dockers_exit_codes", signals_have_dockers_exit_codes),
    ("life::the_container_gets_no_descriptor_of_the_shim", the_container_gets_no_descriptor_of_the_shim),
    ("life::an_init_reaps_and_forwards", an_init_reaps_and_forwards),
    ("life::pid_file", pid_file),
    ("life::many_start_at_once", many_start_at_once),
    ("life::nothing_inherited_by_accident_stays_open", nothing_inherited_by_accident_stays_open),
    ("life::an_exit_that_cannot_be_recorded_is_told", an_exit_that_cannot_be_recorded_is_told),
    ("life::an_exit_that_cannot_be_recorded_waits", an_exit_that_cannot_be_recorded_waits),
    ("life::a_program_that_is_no_zygote_is_named", a_program_that_is_no_zygote_is_named),
];

fn kill(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn children(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

fn parent(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("PPid:")).unwrap();
    line.trim().parse().unwrap()
}

fn a_daemon_may_die_and_come_back() {
    let place = Place::new();
    let mut order = place.shell("while read line; do echo got $line; done; exit 6").stdin(true);
    let mut client = order.client(options(true));
    let mut container = order.start();
    let (pid, socket) = (container.pid, container.socket.clone());
    client.send("1\n");
    client.expect("got 1");
    container.connection = container.reconnect();
    // The client is served as before.
    client.send("2\n");
    client.expect("got 2");
    container.connection = Connection::new(dhow_shim::client::connect(&socket).unwrap());
    let Reply::State(state) = container.connection.call(Request::Subscribe, &[]).unwrap() else { panic!() };
    assert_eq!((state.pid, state.clients), (pid, 1));
    client.half_close();
    assert_eq!(container.wait().exit_code, 6);
    assert_eq!(container.log().len(), 2);
}

fn an_exit_without_a_daemon_is_on_disk() {
    let place = Place::new();
    let mut order = place.shell("read line; echo last words; exit 7").stdin(true);
    let mut client = order.client(options(true));
    let mut container = order.start();
    let (shim_pid, socket, exit_path) = (container.shim_pid, container.socket.clone(), container.exit_path.clone());
    // A connection that hears nothing takes the place of the one that launched.
    container.connection = container.reconnect();
    client.send("go\n");
    assert_eq!(client.text(), "last words\n");
    until("the shim ends", || !alive(shim_pid));
    assert_eq!(dhow_shim::exit::read(&exit_path).unwrap().unwrap().exit_code, 7);
    assert_eq!(log_lines(&exit_path.with_file_name("log")), [("stdout".into(), "last words\n".into())]);
    assert!(!socket.exists());
}

fn a_killed_shim_takes_its_container_along() {
    let place = Place::new();
    let mut order = place.run(&["/bin/sleep", "1000"]);
    let mut client = order.client(options(false));
    let mut container = order.start();
    kill(container.shim_pid, rustix::process::Signal::KILL);
    assert_eq!(container.connection.event().unwrap(), None);
    assert_eq!(client.rest(), b"");
    until("the container ends with its shim", || !alive(container.pid));
    // This is how the engine knows: nothing on disk, nobody on the socket.
    assert_eq!(container.exit_file(), None);
    assert!(dhow_shim::client::connect(&container.socket).is_err());
}

fn signals_that_end_programs_do_not_end_a_shim() {
    use rustix::process::Signal;
    let place = Place::new();
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    for signal in [Signal::HUP, Signal::INT, Signal::TERM, Signal::PIPE] {
        kill(container.shim_pid, signal);
        assert_eq!(container.state().pid, container.pid);
    }
    container.kill();
    assert_eq!(container.wait().exit_code, 137);
}

fn a_killed_zygote_is_replaced() {
    let place = Place::new();
    let mut first = place.run(&["/bin/sleep", "1000"]).start();
    let zygote = parent(first.shim_pid);
    let spares: Vec<i32> = children(zygote).into_iter().filter(|pid| *pid != first.shim_pid).collect();
    kill(zygote, rustix::process::Signal::KILL);
    // A shim that waits in reserve still listens, and goes with it.
    until("the zygote and its spare shims end", || !alive(zygote) && !spares.iter().any(|pid| alive(*pid)));
    let mut second = place.run(&["/bin/sleep", "1000"]).start();
    assert_ne!(parent(second.shim_pid), zygote);
    // The first one's shim did not mind.
    assert_eq!(first.state().pid, first.pid);
    for container in [&mut first, &mut second] {
        container.kill();
        assert_eq!(container.wait().exit_code, 137);
    }
}

fn a_zygote_goes_when_its_socket_goes() {
    let mut place = Place::new();
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    let zygote = parent(container.shim_pid);
    place.zygote.take().unwrap().retire().unwrap();
    until("the zygote goes", || !alive(zygote));
    assert_eq!(container.state().pid, container.pid);
    container.kill();
    container.wait();
}

fn two_callers_start_one_zygote() {
    let mut place = Place::new();
    place.zygote.take().unwrap().retire().unwrap();
    let state = place.dir.path().to_owned();
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let state = state.clone();
            std::thread::spawn(move || Zygote::connect_or_start(&state, &spawn()).unwrap())
        })
        .collect();
    let zygotes: Vec<Zygote> = starts.into_iter().map(|t| t.join().unwrap()).collect();
    let shims: Vec<i32> = zygotes
        .iter()
        .map(|z| {
            let mut connection = Connection::new(z.connect().unwrap());
            let Reply::Hello { pid, .. } = connection.call(Request::Hello, &[]).unwrap() else { panic!() };
            parent(pid)
        })
        .collect();
    assert!(shims.iter().all(|p| *p == shims[0]), "{shims:?}");
    place.zygote = zygotes.into_iter().next();
}

fn a_failed_start_leaves_nothing() {
    let place = Place::new();
    for (args, kind) in [
        (&["/bin/nosuch"][..], ErrorKind::CommandNotFound),
        (&["nosuch"], ErrorKind::CommandNotFound),
        (&["/etc"], ErrorKind::CommandNotExecutable),
    ] {
        let mut order = place.run(args).with(|l| l.pid_file = Some(l.exit_path.with_file_name("pid")));
        let mut client = order.client(options(false));
        let dir = order.launch.socket.parent().unwrap().to_owned();
        let e = order.try_start().unwrap_err();
        assert_eq!(e.kind(), kind, "{e}");
        assert_eq!(client.rest(), b"");
        let left: Vec<_> = std::fs::read_dir(dir).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["log"]);
    }
    let e = place.run(&["/bin/true"]).with(|l| l.rootfs = Rootfs::Dir("/nonexistent/root".into())).try_start();
    assert!(e.unwrap_err().text().contains("/nonexistent/root"));
    let e = place.run(&["/bin/true"]).with(|l| l.namespaces = vec![(dhow_shim::spec::NamespaceKind::Network, 5)]);
    assert!(e.try_start().unwrap_err().text().contains("descriptor 5"));
}

fn signals_have_dockers_exit_codes() {
    let place = Place::new();
    let mut container = place.shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done").start();
    until("the trap is set", || container.log().len() == 1);
    container.signal(15);
    let status = container.wait();
    assert_eq!((status.exit_code, status.signal), (7, None));
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    container.signal(9);
    let status = container.wait();
    assert_eq!((status.exit_code, status.signal), (137, Some(9)));
}

fn the_container_gets_no_descriptor_of_the_shim() {
    let place = Place::new();
    let mut order = place.run(&["/bin/ls", "/proc/self/fd"]).stdin(true);
    let mut client = order.client(options(true));
    let mut container = order.start();
    // The fourth is that of ls itself, on the folder.
    assert_eq!(client.text().split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    container.wait();
}

fn an_init_reaps_and_forwards() {
    let place = Place::new();
    let order = place.shell("trap 'exit 5' TERM; echo $$; while :; do sleep 0.01; done").with(|l| l.init = true);
    let mut container = order.start();
    until("the trap is set", || container.log().len() == 1);
    assert_ne!(container.log()[0].1, "1\n");
    container.signal(15);
    assert_eq!(container.wait().exit_code, 5);
}

fn pid_file() {
    let place = Place::new();
    let order = place.run(&["/bin/sleep", "1000"]).with(|l| l.pid_file = Some(l.exit_path.with_file_name("pid")));
    let path = order.launch.pid_file.clone().unwrap();
    let mut container = order.start();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), container.pid.to_string());
    container.kill();
    container.wait();
    container.wait_gone();
    assert!(!path.exists());
}

fn an_exit_that_cannot_be_recorded_is_told() {
    let place = Place::new();
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    std::fs::remove_dir_all(container.exit_path.parent().unwrap()).unwrap();
    container.kill();
    let Some(Event::Exited(status)) = container.connection.event().unwrap() else { panic!() };
    assert!(status.exit_code == 137 && status.error.contains("exit.json"), "{status:?}");
    container.wait_gone();
    until("the shim ends", || !alive(container.shim_pid));
}

fn an_exit_that_cannot_be_recorded_waits() {
    let place = Place::new();
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    let dir = container.exit_path.parent().unwrap().to_owned();
    std::fs::remove_dir_all(&dir).unwrap();
    // Nobody hears the event: the shim has to wait for a disk that takes it, or for somebody to tell.
    container.connection = Connection::new(place.zygote().connect().unwrap());
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(container.pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    until("the container ends", || !alive(container.pid));
    until_idle(container.shim_pid);
    assert!(alive(container.shim_pid), "the shim left without telling anybody");
    std::fs::create_dir(&dir).unwrap();
    until("the shim ends", || !alive(container.shim_pid));
    assert_eq!(container.exit_file().unwrap().exit_code, 137);
}

fn a_program_that_is_no_zygote_is_named() {
    let place = Place::new();
    let sub = place.dir.path().join("sub");
    std::fs::create_dir(&sub).unwrap();
    let spawn = |exe: &str| dhow_shim::client::Spawn { exe: exe.into(), args: Vec::new() };
    let e = Zygote::connect_or_start(&sub, &spawn("/bin/false")).unwrap_err();
    assert!(e.text().contains("/bin/false"), "{e}");
    let e = Zygote::connect_or_start(&sub, &spawn("/bin/nosuch")).unwrap_err();
    assert!(e.text().contains("/bin/nosuch"), "{e}");
    let left: Vec<_> = std::fs::read_dir(&sub).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["zygote.lock"]);
}

fn many_start_at_once() {
    const AT_ONCE: usize = 8;
    let place = Place::new();
    let mut orders: Vec<_> = (0..5 * AT_ONCE).map(|n| place.shell(&format!("echo {n}; exit {n}"))).collect();
    let mut n = 0;
    while !orders.is_empty() {
        std::thread::scope(|scope| {
            let starts: Vec<_> = orders
                .drain(..AT_ONCE)
                .map(|order| {
                    let launch = order.launch;
                    let zygote = place.zygote();
                    scope.spawn(move || {
                        let exit_path = launch.exit_path.clone();
                        let mut connection = Connection::new(zygote.connect().unwrap());
                        connection.call(Request::Launch(Box::new(launch)), &[]).unwrap();
                        while connection.event().unwrap().is_some() {}
                        dhow_shim::exit::read(&exit_path).unwrap().unwrap().exit_code
                    })
                })
                .collect();
            for start in starts {
                assert_eq!(start.join().unwrap(), n);
                n += 1;
            }
        });
    }
}

fn nothing_inherited_by_accident_stays_open() {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    let mut place = Place::new();
    place.zygote.take().unwrap().retire().unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    // As a careless caller does it: the descriptor goes to every program that is started.
    rustix::io::fcntl_setfd(&write, rustix::io::FdFlags::empty()).unwrap();
    place.zygote = Some(Zygote::connect_or_start(place.dir.path(), &spawn()).unwrap());
    let number = write.as_raw_fd();
    drop(write);
    let mut container = place.run(&["/bin/sleep", "1000"]).start();
    assert_eq!(read.read(&mut [0; 1]).unwrap(), 0, "descriptor {number} is still open somewhere");
    container.kill();
    container.wait();
}
