//! Sinks against sockets of the test's own: what arrives, what waits, what is dropped.

use super::config::{Receiver, SendConfig, SyslogAddress, SyslogConfig, SyslogFormat};
use super::*;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::Duration;

fn syslog(address: SyslogAddress) -> Receiver {
    Receiver::Syslog(SyslogConfig {
        address,
        facility: 1,
        format: SyslogFormat::Local,
        tag: "t".into(),
        hostname: "h".into(),
        offsets: vec![],
    })
}

fn open(receiver: Receiver, ring: Option<u64>) -> (Sink, Reactor) {
    (Sink::open(SendConfig { receiver, ring }).unwrap(), Reactor::new().unwrap())
}

/// One turn of the loop that the supervisor has.
fn turn(sink: &mut Sink, reactor: &Reactor) {
    sink.watch(reactor);
    let now = Instant::now();
    let wait = sink.deadline().map_or(Duration::from_millis(20), |due| due.saturating_duration_since(now));
    for (_, flags) in reactor.wait(Some(wait)).unwrap() {
        sink.ready(flags);
    }
    sink.tick(Instant::now());
}

/// The text after `: `.
fn text(message: &[u8]) -> String {
    let message = String::from_utf8_lossy(message);
    message.split_once("]: ").map_or("?", |(_, text)| text).trim_end().to_owned()
}

fn datagram(socket: &UnixDatagram) -> String {
    let mut buffer = vec![0; 64 << 10];
    let n = socket.recv(&mut buffer).unwrap();
    text(&buffer[..n])
}

#[test]
fn each_line_is_a_datagram_and_a_slow_receiver_makes_the_program_wait() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let (mut sink, reactor) = open(syslog(SyslogAddress::Unixgram(path)), None);
    sink.write(Stream::Stdout, b"one\n\ntwo\nthr");
    sink.write(Stream::Stdout, b"ee\n");
    assert_eq!([datagram(&socket), datagram(&socket), datagram(&socket)], ["one", "two", "three"]);

    let mut sent = 0;
    while !sink.is_full() {
        sink.write(Stream::Stderr, format!("{sent}\n").as_bytes());
        sent += 1;
        assert!(sent < 1_000_000, "nothing ever stops the program");
    }
    // Every line arrives in the order it was written, and then the program may go on.
    for n in 0..sent {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 1024];
        let got = loop {
            match socket.recv(&mut buffer) {
                Ok(len) => break text(&buffer[..len]),
                Err(_) => turn(&mut sink, &reactor),
            }
        };
        assert_eq!(got, n.to_string());
    }
    assert!(!sink.is_full());
    assert_eq!(sink.close(), 0);
}

#[test]
fn a_ring_never_makes_the_program_wait_and_keeps_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let (mut sink, reactor) = open(syslog(SyslogAddress::Unixgram(path)), Some(4096));
    for n in 0..10_000 {
        sink.write(Stream::Stdout, format!("{n}\n").as_bytes());
        assert!(!sink.is_full());
    }
    socket.set_nonblocking(true).unwrap();
    let mut got = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match socket.recv(&mut buffer) {
            Ok(len) => got.push(text(&buffer[..len]).parse::<u32>().unwrap()),
            Err(_) if sink.channel_is_empty() => break,
            Err(_) => turn(&mut sink, &reactor),
        }
    }
    let want: Vec<u32> = (0..got.len() as u32).collect();
    assert_eq!(got, want, "what came first is kept, without a gap");
    assert!(got.len() > 100 && got.len() < 10_000);
    assert_eq!(sink.close(), 10_000 - got.len() as u64);
}

#[test]
fn a_receiver_that_comes_back_gets_what_waited() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let bind = |path: &Path| {
        let _ = std::fs::remove_file(path);
        UnixListener::bind(path).unwrap()
    };
    let listener = bind(&path);
    let (mut sink, reactor) = open(syslog(SyslogAddress::Unix(path.clone())), None);
    let (mut first, _) = listener.accept().unwrap();
    sink.write(Stream::Stdout, b"before\n");
    let mut buffer = [0; 1024];
    let n = first.read(&mut buffer).unwrap();
    assert_eq!(text(&buffer[..n]), "before");
    drop((first, listener));
    for n in 0..3 {
        sink.write(Stream::Stdout, format!("while away {n}\n").as_bytes());
        assert!(!sink.is_full(), "one that is gone stops nobody");
    }
    let listener = bind(&path);
    listener.set_nonblocking(true).unwrap();
    let mut second = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => turn(&mut sink, &reactor),
        }
    };
    assert_eq!(sink.close(), 0);
    second.set_nonblocking(false).unwrap();
    let mut all = String::new();
    second.read_to_string(&mut all).unwrap();
    let lines: Vec<_> = all.lines().map(|l| text(l.as_bytes())).collect();
    assert_eq!(lines, ["while away 0", "while away 1", "while away 2"]);
}

#[test]
fn what_waits_for_a_receiver_that_is_gone_is_bounded_and_the_rest_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let (mut sink, _reactor) = open(syslog(SyslogAddress::Unixgram(path.clone())), None);
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    let line = vec![b'x'; 9_999];
    for _ in 0..300 {
        sink.write(Stream::Stdout, &line);
        sink.write(Stream::Stdout, b"\n");
        assert!(!sink.is_full());
    }
    assert!(sink.channel_len() <= 1_000_000 && sink.channel_len() > 900_000);
    assert_eq!(sink.close(), 300);
}

#[test]
fn streams_over_tcp_arrive_whole_whatever_the_receiver_takes_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        let mut buffer = [0; 777];
        while let Ok(n) = stream.read(&mut buffer)
            && n > 0
        {
            all.extend_from_slice(&buffer[..n]);
        }
        all
    });
    // The first address takes nobody; the second is the receiver.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut sink, reactor) = open(syslog(SyslogAddress::Tcp(vec![closed, address])), None);
    const LINES: usize = 20_000;
    for n in 0..LINES {
        while sink.is_full() {
            turn(&mut sink, &reactor);
        }
        sink.write(Stream::Stdout, format!("{n} {}\n", "y".repeat(n % 300)).as_bytes());
    }
    while !sink.channel_is_empty() {
        turn(&mut sink, &reactor);
    }
    assert_eq!(sink.close(), 0);
    let all = reader.join().unwrap();
    let mut lines = 0;
    for (n, line) in all.split(|b| *b == b'\n').filter(|l| !l.is_empty()).enumerate() {
        assert_eq!(text(line), format!("{n} {}", "y".repeat(n % 300)).trim_end());
        lines += 1;
    }
    assert_eq!(lines, LINES);
}

#[test]
fn a_tcp_receiver_that_only_ends_connections_is_not_tried_without_pause() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut sink, reactor) = open(syslog(SyslogAddress::Tcp(vec![listener.local_addr().unwrap()])), None);
    drop(listener.accept().unwrap());
    listener.set_nonblocking(true).unwrap();
    // Its end is noticed, and as nothing was taken, the next attempt waits for its time.
    while sink.deadline().is_none() {
        sink.write(Stream::Stdout, b"x\n");
        turn(&mut sink, &reactor);
    }
    assert!(!sink.is_full());
    let accepted = std::iter::from_fn(|| listener.accept().ok()).count();
    assert!(accepted <= 2, "{accepted} connections at once");
}

#[test]
fn datagrams_over_udp_go_on_after_nobody_listened() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (mut sink, reactor) = open(syslog(SyslogAddress::Udp(vec![address])), None);
    sink.write(Stream::Stdout, b"one\n");
    let mut buffer = [0; 1024];
    let n = socket.recv(&mut buffer).unwrap();
    assert_eq!(text(&buffer[..n]), "one");
    drop(socket);
    sink.write(Stream::Stdout, b"lost\nlost\n");
    turn(&mut sink, &reactor);
    let socket = UdpSocket::bind(address).unwrap();
    sink.write(Stream::Stdout, b"two\n");
    let n = socket.recv(&mut buffer).unwrap();
    assert_eq!(text(&buffer[..n]), "two");
    assert_eq!(sink.close(), 0);
}

#[test]
fn the_journal_gets_small_entries_as_datagrams_and_large_ones_as_sealed_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    // No datagram can be so large.
    let big = "v".repeat(20 << 20);
    for (value, in_file) in [("small", false), (big.as_str(), true)] {
        let fields = vec![("CONTAINER_NAME".to_owned(), "web".to_owned()), ("BIG".to_owned(), value.to_owned())];
        let (mut sink, _reactor) = open(Receiver::Journal { socket: path.clone(), fields }, None);
        sink.write(Stream::Stderr, b"hello\n");
        let mut buffer = vec![0; 1 << 20];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
        let mut data = [std::io::IoSliceMut::new(&mut buffer)];
        let flags = rustix::net::RecvFlags::empty();
        let got = rustix::net::recvmsg(socket.as_fd(), &mut data, &mut control, flags).unwrap();
        let mut file = None;
        for part in control.drain() {
            if let rustix::net::RecvAncillaryMessage::ScmRights(mut fds) = part {
                file = fds.next();
            }
        }
        let entry = match file {
            Some(fd) => {
                use std::io::Seek;
                let seals = rustix::fs::fcntl_get_seals(&fd).unwrap();
                assert!(seals.contains(rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::SHRINK));
                assert!(in_file && got.bytes == 0);
                let mut file = std::fs::File::from(fd);
                let mut all = String::new();
                file.rewind().unwrap();
                file.read_to_string(&mut all).unwrap();
                all
            }
            None => {
                assert!(!in_file);
                String::from_utf8(buffer[..got.bytes].to_vec()).unwrap()
            }
        };
        assert!(entry.starts_with("PRIORITY=3\nMESSAGE=hello\nCONTAINER_NAME=web\nBIG="), "{entry:.100}");
        assert!(entry.contains(&format!("BIG={value}\n")) && entry.contains("CONTAINER_LOG_ORDINAL=1\n"));
        assert_eq!(sink.close(), 0);
    }
}

#[test]
fn a_receiver_that_is_not_there_refuses_the_start_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none");
    for address in [SyslogAddress::Unix(path.clone()), SyslogAddress::Unixgram(path.clone())] {
        let error = Sink::open(SendConfig { receiver: syslog(address), ring: None }).unwrap_err();
        assert!(error.text().contains(path.to_str().unwrap()), "{error}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = SendConfig { receiver: syslog(SyslogAddress::Tcp(vec![closed])), ring: None };
    assert!(Sink::open(config).unwrap_err().text().starts_with(&format!("dial tcp://{closed}: ")));
}
