//! Log drivers and their options: what arrives at receivers, what can be read here, what is refused.

use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Duration;

super::cases!("logdrivers": syslog_gets_each_line_and_a_copy_stays_here, syslog_receiver_goes_and_comes_back, a_slow_receiver_makes_the_program_wait_unless_told, the_journal_gets_entries, attributes_stand_in_the_file, daemon_options_are_defaults, refusals, docker_client_and_drivers);

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn receiver(d: &Daemon, name: &str) -> Result<(UnixDatagram, String)> {
    let path = d.root().join(name);
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok((socket, path.to_str().context("a path")?.to_owned()))
}

fn message(socket: &UnixDatagram) -> Result<String> {
    let mut buffer = vec![0; 1 << 20];
    let n = socket.recv(&mut buffer).context("a message")?;
    Ok(String::from_utf8_lossy(&buffer[..n]).into_owned())
}

fn syslog_gets_each_line_and_a_copy_stays_here(w: &World) -> Result<()> {
    let d = Daemon::start(&w.setup)?;
    d.load("busybox")?;
    let (socket, path) = receiver(&d, "syslog")?;
    let address = format!("syslog-address=unixgram://{path}");
    let base = ["run", "-d", "--name", "web", "--log-driver", "syslog", "--log-opt", &address];
    let more = ["--log-opt", "tag={{.Name}}/{{.ImageName}}", "--log-opt", "syslog-facility=local3"];
    let program = ["busybox", "sh", "-c", "echo out; echo; echo err >&2; printf rest"];
    d.ok(&[&base[..], &more, &program].concat())?;
    let mut got = vec![message(&socket)?, message(&socket)?, message(&socket)?];
    // The two streams are two pipes: their order among each other is nobody's.
    got.sort();
    ensure!(got[0].starts_with("<155>") && got[0].contains(" web/busybox["), "{got:?}");
    ensure!(got[0].ends_with("]: err\n"), "{got:?}");
    ensure!(got[1].starts_with("<158>") && got[2].starts_with("<158>"), "{got:?}");
    let texts: Vec<_> = got[1..].iter().filter_map(|m| m.split_once("]: ")).map(|(_, t)| t).collect();
    ensure!(texts.contains(&"out\n") && texts.contains(&"rest\n"), "{got:?}");
    d.ok(&["wait", "web"])?;
    let copy = d.cli(&["logs", "web"])?;
    ensure!(copy.out == "out\n\nrest" && copy.err == "err\n", "{copy:?}");
    let shown = d.inspect("web")?;
    ensure!(shown["HostConfig"]["LogConfig"]["Type"] == "syslog" && shown["LogPath"] == "", "{shown}");
    ensure!(shown["State"]["Error"] == "", "{}", shown["State"]);
    d.ok(&["rm", "web"])?;

    // Each form, and no copy.
    for (form, begin) in [("rfc3164", "<30>"), ("rfc5424", "<30>1 2"), ("rfc5424micro", "<30>1 2")] {
        let form = format!("syslog-format={form}");
        let more = ["--log-opt", &form, "--log-opt", "cache-disabled=true", "--log-opt", "tag=t"];
        d.ok(&[&base[..], &more, &["busybox", "echo", "hello"]].concat())?;
        let got = message(&socket)?;
        ensure!(got.starts_with(begin) && got.ends_with(" hello\n") && got.contains(" t"), "{got:?}");
        d.ok(&["wait", "web"])?;
        d.cli(&["logs", "web"])?.fails(1, &["configured logging driver does not support reading"])?;
        d.ok(&["rm", "web"])?;
    }
    Ok(())
}

fn syslog_receiver_goes_and_comes_back(w: &World) -> Result<()> {
    let d = Daemon::start(&w.setup)?;
    d.load("busybox")?;
    let path = d.root().join("stream");
    let address = format!("syslog-address=unix://{}", path.display());
    let listener = UnixListener::bind(&path)?;
    let go = "while [ ! -e /go$1 ]; do sleep 0.02; done";
    let script = format!("wait() {{ {go}; }}; echo one; wait 1; echo two; echo three; wait 2; echo four");
    let id = d.ok(&["run", "-d", "--log-driver", "syslog", "--log-opt", &address, "busybox", "sh", "-c", &script])?;
    let (mut first, _) = listener.accept()?;
    first.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    read_lines(&mut first, &mut text, 1)?;
    ensure!(text.ends_with("]: one\n"), "{text:?}");
    // The receiver goes, and with it the daemon: neither is the program's concern.
    drop((first, listener));
    std::fs::remove_file(&path)?;
    d.kill()?;
    d.up()?;
    d.ok(&["exec", &id, "touch", "/go1"])?;
    until("the lines to be said", || Ok(d.ok(&["logs", &id])?.ends_with("three").then_some(())))?;
    let listener = UnixListener::bind(&path)?;
    let (mut second, _) = listener.accept()?;
    second.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    read_lines(&mut second, &mut text, 2)?;
    d.ok(&["exec", &id, "touch", "/go2"])?;
    read_lines(&mut second, &mut text, 3)?;
    let said: Vec<_> = text.lines().filter_map(|l| l.split_once("]: ")).map(|(_, t)| t).collect();
    ensure!(said == ["two", "three", "four"], "{text:?}");
    d.ok(&["wait", &id])?;
    ensure!(d.inspect(&id)?["State"]["Error"] == "");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn read_lines(from: &mut impl Read, text: &mut String, lines: usize) -> Result<()> {
    let mut byte = [0; 1];
    while text.lines().count() < lines || !text.ends_with('\n') {
        from.read_exact(&mut byte).with_context(|| format!("{lines} lines, after {text:?}"))?;
        text.push(char::from(byte[0]));
    }
    Ok(())
}

fn a_slow_receiver_makes_the_program_wait_unless_told(w: &World) -> Result<()> {
    // More than the pipe and what may wait for the receiver hold together.
    const LINES: usize = 3_000;
    let d = Daemon::start(&w.setup)?;
    d.load("busybox")?;
    let (socket, path) = receiver(&d, "slow")?;
    let address = format!("syslog-address=unixgram://{path}");
    let base = ["run", "-d", "--log-driver", "syslog", "--log-opt", &address, "--log-opt", "cache-disabled=true"];
    let print = format!("awk 'BEGIN {{ for (n = 1; n <= {LINES}; n++) printf \"%0999d\\n\", n }}'");

    // Told not to wait, the program ends though nobody reads; what did not fit is lost, and said to be.
    let ring = ["--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=64k"];
    let id = d.ok(&[&base[..], &ring, &["busybox", "sh", "-c", &print]].concat())?;
    ensure!(d.ok(&["wait", &id])? == "0");
    let error = d.inspect(&id)?["State"]["Error"].as_str().unwrap_or_default().to_owned();
    ensure!(error.contains("messages did not reach the receiver of the log"), "{error:?}");
    socket.set_nonblocking(true)?;
    loop {
        match socket.recv(&mut [0; 1024]) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) => return Err(e.into()),
        }
    }
    socket.set_nonblocking(false)?;
    d.ok(&["rm", &id])?;

    // Else every line arrives, however late it is read, and the program waits meanwhile.
    let script = format!("{print}; touch /run/done; while [ ! -e /run/go ]; do sleep 0.02; done");
    let id = d.ok(&[&base[..], &["--tmpfs", "/run", "busybox", "sh", "-c", &script]].concat())?;
    for n in 1..=LINES {
        let got = message(&socket).with_context(|| format!("line {n}"))?;
        ensure!(got.ends_with(&format!("{n:0999}\n")), "{n}: {got:?}");
        if n == 1 {
            let done = d.cli(&["exec", &id, "ls", "/run/done"])?;
            ensure!(done.code == 1, "it did not wait for its lines to be taken: {done:?}");
        }
    }
    d.ok(&["exec", &id, "touch", "/run/go"])?;
    ensure!(d.ok(&["wait", &id])? == "0");
    ensure!(d.inspect(&id)?["State"]["Error"] == "");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn the_journal_gets_entries(w: &World) -> Result<()> {
    let d = Daemon::start(&w.setup)?;
    let (socket, path) = receiver(&d, "journal")?;
    d.configure(&json!({"journal-socket": path}).to_string())?;
    d.end()?;
    d.up()?;
    d.load("busybox")?;
    let options = ["--log-driver", "journald", "--log-opt", "labels=com.example.team", "--log-opt", "tag={{.Name}}!"];
    let program =
        ["-l", "com.example.team=blue", "busybox", "sh", "-c", "echo hello; head -c 20000 /dev/zero | tr '\\0' x"];
    let id = d.ok(&[&["run", "-d", "--name", "jj"][..], &options, &program].concat())?;
    let first = message(&socket)?;
    for want in [
        "PRIORITY=6\n",
        "\nMESSAGE=hello\n",
        &format!("\nCONTAINER_ID={}\n", &id[..12]),
        &format!("\nCONTAINER_ID_FULL={id}\n"),
        "\nCONTAINER_NAME=jj\n",
        "\nCONTAINER_TAG=jj!\n",
        "\nSYSLOG_IDENTIFIER=jj!\n",
        "\nIMAGE_NAME=busybox\n",
        "\nCOM_EXAMPLE_TEAM=blue\n",
        "\nCONTAINER_LOG_ORDINAL=1\n",
        "\nSYSLOG_TIMESTAMP=",
    ] {
        ensure!(first.contains(want), "{want:?} is not in {first:?}");
    }
    ensure!(!first.contains("PARTIAL"), "{first:?}");
    let (second, third) = (message(&socket)?, message(&socket)?);
    let id_of = |entry: &str| entry.lines().find(|l| l.starts_with("CONTAINER_PARTIAL_ID=")).map(str::to_owned);
    ensure!(id_of(&second).is_some() && id_of(&second) == id_of(&third), "{second:.200} {third:.200}");
    ensure!(second.contains("CONTAINER_PARTIAL_ORDINAL=1\n") && third.contains("CONTAINER_PARTIAL_ORDINAL=2\n"));
    d.ok(&["wait", "jj"])?;
    ensure!(d.ok(&["logs", "jj"])?.starts_with("hello\nxxx"), "the copy that can be read");
    d.ok(&["rm", "jj"])?;

    // Without a journal, a start says so.
    drop(socket);
    std::fs::remove_file(&path)?;
    let said = d.cli(&["run", "--rm", "--log-driver", "journald", "busybox", "true"])?;
    ensure!(
        said.code != 0 && said.err.contains("failed to initialize logging driver: journald is not enabled"),
        "{said:?}"
    );
    Ok(())
}

fn attributes_stand_in_the_file(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let given = ["labels=team", "env-regex=^(A|B)$", "tag={{.ImageName}}|{{.Name}}"];
    let mut words =
        vec!["run", "-d", "--name", "attrs", "-l", "team=<blue>", "-l", "other=x", "-e", "A=1", "-e", "C=3"];
    given.iter().for_each(|option| words.extend(["--log-opt", option]));
    words.extend(["--log-driver", "json-file", "busybox", "echo", "hello"]);
    d.ok(&words)?;
    d.ok(&["wait", "attrs"])?;
    let path = d.inspect("attrs")?["LogPath"].as_str().context("a path")?.to_owned();
    let text = std::fs::read_to_string(path)?;
    let line: Value = serde_json::from_str(text.trim_end())?;
    ensure!(line["log"] == "hello\n" && line["stream"] == "stdout", "{text}");
    ensure!(line["attrs"] == json!({"A": "1", "team": "<blue>", "tag": "busybox|attrs"}), "{text}");
    ensure!(text.contains(r#""attrs":{"A":"1","tag":"busybox|attrs","team":"\u003cblue\u003e"},"time":""#), "{text}");
    d.ok(&["rm", "attrs"])?;
    Ok(())
}

fn daemon_options_are_defaults(w: &World) -> Result<()> {
    let d = Daemon::start(&w.setup)?;
    d.load("busybox")?;
    let defaults = json!({"log-driver": "json-file", "log-opts": {"max-size": "1m", "tag": "{{.Name}}"}});
    d.configure(&defaults.to_string())?;
    d.end()?;
    d.up()?;
    let config = |words: &[&str]| -> Result<Value> {
        let id = d.ok(&[&["create"][..], words, &["busybox", "true"]].concat())?;
        let config = d.inspect(&id)?["HostConfig"]["LogConfig"].clone();
        d.ok(&["rm", &id])?;
        Ok(config)
    };
    let both = json!({"max-size": "1m", "tag": "{{.Name}}"});
    ensure!(config(&[])? == json!({"Type": "json-file", "Config": both}));
    let own = json!({"max-size": "2m", "tag": "{{.Name}}"});
    ensure!(config(&["--log-opt", "max-size=2m"])? == json!({"Type": "json-file", "Config": own}));
    ensure!(config(&["--log-driver", "local"])? == json!({"Type": "local", "Config": {}}));
    let (_, _, info) = d.http("GET", "/v1.47/info", "")?;
    let info: Value = serde_json::from_str(&info)?;
    ensure!(info["LoggingDriver"] == "json-file", "{info}");
    ensure!(info["Plugins"]["Log"] == json!(["journald", "json-file", "local", "none", "syslog"]), "{info}");
    // A daemon that could make no container with its options does not begin.
    d.configure(&json!({"log-opts": {"nope": "x"}}).to_string())?;
    d.end()?;
    let refused = d.up().err().context("it began")?;
    let said = format!("{refused:#}{}", d.log());
    ensure!(said.contains("failed to set log opts: unknown log opt 'nope' for json-file log driver"), "{said}");
    d.configure("{}")?;
    d.up()?;
    Ok(())
}

fn refusals(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for (driver, option, words) in [
        ("json-file", "nope=x", "unknown log opt 'nope' for json-file log driver"),
        ("json-file", "max-size=0", "max-size must be a positive number"),
        ("json-file", "max-file=0", "max-file cannot be less than 1"),
        ("json-file", "mode=fast", "logger: logging mode not supported: fast"),
        ("json-file", "max-buffer-size=1m", "max-buffer-size option is only supported with 'mode=non-blocking'"),
        ("json-file", "tag={{.Nope}}", "can't evaluate field Nope"),
        ("json-file", "labels-regex=(", "labels-regex ("),
        ("local", "nope=x", "unknown log opt 'nope' for log driver local"),
        ("syslog", "syslog-address=tcp+tls://host:6514", "syslog over TLS is not built"),
        ("syslog", "syslog-address=ftp://host", "unsupported scheme: 'ftp'"),
        ("syslog", "syslog-address=unix:///no/such/socket", "stat /no/such/socket"),
        ("syslog", "syslog-facility=what", "invalid syslog facility"),
        ("journald", "max-size=1m", "unknown log opt 'max-size' for journald log driver"),
        ("nowhere", "tag=x", "logger: no log driver named 'nowhere' is registered"),
        ("splunk", "tag=x", "log driver splunk is not built"),
    ] {
        let words_of = ["create", "--log-driver", driver, "--log-opt", option, "busybox", "true"];
        let said = d.cli(&words_of)?;
        ensure!(said.code != 0 && said.err.contains(words), "{driver} {option}: {said:?}");
    }
    // A socket that exists, and that nobody listens on, refuses the start.
    let path = d.root().join("deaf");
    drop(UnixDatagram::bind(&path)?);
    let address = format!("syslog-address=unixgram://{}", path.display());
    let said = d.cli(&["run", "--rm", "--log-driver", "syslog", "--log-opt", &address, "busybox", "true"])?;
    let want = format!("failed to initialize logging driver: dial unixgram://{}", path.display());
    ensure!(said.code != 0 && said.err.contains(&want), "{said:?}");
    std::fs::remove_file(&path)?;
    // The lawful twin: options that are right are taken and shown.
    let id = d.ok(&["create", "--log-driver", "local", "--log-opt", "max-size=5m", "busybox", "true"])?;
    ensure!(d.inspect(&id)?["HostConfig"]["LogConfig"] == json!({"Type": "local", "Config": {"max-size": "5m"}}));
    d.ok(&["rm", &id])?;
    Ok(())
}

fn docker_client_and_drivers(w: &World) -> Result<()> {
    let d = Daemon::start(&w.setup)?;
    d.load("busybox")?;
    let docker = |words: &[&str]| -> Result<(i32, String, String)> {
        let out = super::clients::docker(&d, words)?.output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr)))
    };
    let (socket, path) = receiver(&d, "docker")?;
    let address = format!("syslog-address=unixgram://{path}");
    let options = ["--log-driver", "syslog", "--log-opt", &address, "--log-opt", "tag={{.Name}}"];
    let run = [&["run", "-d", "--name", "twin"][..], &options, &["busybox", "echo", "by docker"]].concat();
    let (code, _, err) = docker(&run)?;
    ensure!(code == 0, "{err}");
    let got = message(&socket)?;
    ensure!(got.contains(" twin[") && got.ends_with("]: by docker\n"), "{got:?}");
    docker(&["wait", "twin"])?;
    ensure!(docker(&["logs", "twin"])? == (0, "by docker\n".into(), String::new()));
    let (_, shown, _) = docker(&["inspect", "-f", "{{.HostConfig.LogConfig.Type}} {{.LogPath}}.", "twin"])?;
    ensure!(shown == "syslog .\n", "{shown:?}");
    docker(&["rm", "twin"])?;
    let (code, _, err) =
        docker(&["run", "--rm", "--log-driver", "json-file", "--log-opt", "nope=1", "busybox", "true"])?;
    ensure!(code == 125 && err.contains("unknown log opt 'nope' for json-file log driver"), "{code} {err}");
    let (_, out, _) = docker(&["run", "-d", "--log-driver", "none", "busybox", "true"])?;
    let (code, _, err) = docker(&["logs", out.trim_end()])?;
    ensure!(code == 1 && err.contains("configured logging driver does not support reading"), "{code} {err}");
    Ok(())
}
