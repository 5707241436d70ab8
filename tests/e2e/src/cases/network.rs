//! Networks: bridge, published ports, none, host, container.

use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

super::cases!("network":
    containers_reach_each_other_and_have_names, published_tcp, published_udp, published_on_loopback_only, ports_in_use_are_told,
    free_ports_and_ranges, none_has_loopback_only, host_is_the_daemons, files_are_written, addresses_and_ports_come_back, outside_sees_the_real_source,
    restart_keeps_publishing,
);

fn address(d: &Daemon, id: &str) -> Result<String> {
    d.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", id])
}

/// A server that answers each connection with a word and the address it sees.
fn server(d: &Daemon, flags: &[&str]) -> Result<String> {
    served(d, flags, "tcp", "80")
}

/// This binary as a server in a container.
fn served(d: &Daemon, flags: &[&str], kind: &str, port: &str) -> Result<String> {
    let bind = format!("{}:/srv:ro", std::env::current_exe()?.display());
    let id = d.ok(&[&["run", "-d", "-v", &bind], flags, &["busybox", "/srv", "--serve", kind, port]].concat())?;
    until("the server to be up", || Ok(d.ok(&["logs", &id])?.contains("up").then_some(())))?;
    Ok(id)
}

fn ask(d: &Daemon, to: &str) -> Result<String> {
    let to = to.to_owned();
    d.net.within(move || -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&to.parse()?, Duration::from_secs(5))
            .with_context(|| format!("connect to {to}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"ping\n")?;
        let mut seen = String::new();
        while !seen.ends_with("ping\n") {
            let mut buffer = [0; 256];
            let n = stream.read(&mut buffer)?;
            ensure!(n > 0, "closed after {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
        Ok(seen)
    })?
}

fn containers_reach_each_other_and_have_names(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let a = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    let ip = address(&d, &a)?;
    d.ok(&["run", "--rm", "busybox", "ping", "-c", "1", "-W", "5", &ip])?;
    let gateway = d.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.Gateway}}", &a])?;
    d.ok(&["exec", &a, "ping", "-c", "1", "-W", "5", &gateway])?;
    ensure!(d.ok(&["exec", &a, "cat", "/sys/class/net/eth0/operstate"])? == "up");
    d.ok(&["rm", "-f", &a])?;
    Ok(())
}

fn published_tcp(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = server(&d, &["-p", "8080:80"])?;
    ensure!(ask(&d, "127.0.0.1:8080")?.contains("hello"));
    let gateway = d.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.Gateway}}", &id])?;
    ensure!(ask(&d, &format!("{gateway}:8080"))?.contains("hello"), "by the machine's own address");
    let other = d.ok(&["run", "--rm", "busybox", "sh", "-c", &format!("echo ping | nc -w 2 {gateway} 8080")])?;
    ensure!(other.contains("hello"), "another container, by the published port: {other}");
    d.ok(&["rm", "-f", &id])?;
    ensure!(ask(&d, "127.0.0.1:8080").is_err(), "the port is closed when the container is gone");
    Ok(())
}

fn published_udp(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = served(&d, &["-p", "5353:53/udp"], "udp", "53")?;
    let said = d.net.within(|| -> Result<String> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.send_to(b"ping", "127.0.0.1:5353")?;
        let mut buffer = [0; 64];
        let (n, _) = socket.recv_from(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..n]).into_owned())
    })??;
    ensure!(said == "ping");
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

/// An outside host: a namespace joined to the daemon's by a veth pair.
fn outside(d: &Daemon) -> Result<crate::net::Netns> {
    if !d.net.run(&["ip", "-V"]).is_ok_and(|v| v.contains("iproute2")) {
        return crate::runner::skip("joining two namespaces needs the package iproute2");
    }
    let other = crate::net::Netns::new()?;
    // a thread inside the other namespace gives it a path that `ip` understands
    let holder = other.within(|| std::process::Command::new("sleep").arg("1000").spawn())??;
    let pid = holder.id().to_string();
    let result = (|| -> Result<()> {
        d.net.run(&["ip", "link", "add", "out0", "type", "veth", "peer", "name", "out1", "netns", &pid])?;
        d.net.run(&["ip", "addr", "add", "10.99.0.1/30", "dev", "out0"])?;
        d.net.run(&["ip", "link", "set", "out0", "up"])?;
        other.run(&["ip", "addr", "add", "10.99.0.2/30", "dev", "out1"])?;
        other.run(&["ip", "link", "set", "out1", "up"])?;
        other.run(&["ip", "route", "add", "default", "via", "10.99.0.1"])?;
        Ok(())
    })();
    let mut holder = holder;
    holder.kill()?;
    holder.wait()?;
    result.map(|()| other)
}

fn connects(from: &crate::net::Netns, to: &str) -> Result<Option<String>> {
    let to: std::net::SocketAddr = to.parse()?;
    from.within(move || -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        stream.write_all(b"ping\n").ok()?;
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut line).ok()?;
        line.ends_with('\n').then_some(line)
    })
}

fn published_on_loopback_only(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = server(&d, &["-p", "127.0.0.1:8081:80", "-p", "8082:80"])?;
    let out = outside(&d)?;
    ensure!(ask(&d, "127.0.0.1:8081")?.contains("hello"));
    ensure!(connects(&out, "10.99.0.1:8082")?.is_some(), "an open port is reached from outside");
    ensure!(connects(&out, "10.99.0.1:8081")?.is_none(), "a loopback port is not");
    // CVE-2025-54388, moby's old hole: a neighbour that routes 127/8 or the container's own address to us
    out.run(&["ip", "route", "add", "172.16.0.0/12", "via", "10.99.0.1"])?;
    let direct = format!("{}:80", address(&d, &id)?);
    ensure!(connects(&out, &direct)?.is_none(), "{direct} is not routed from outside unless published");
    Ok(())
}

fn outside_sees_the_real_source(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let _id = server(&d, &["-p", "8083:80"])?;
    let out = outside(&d)?;
    let said = connects(&out, "10.99.0.1:8083")?.unwrap_or_default();
    ensure!(said.contains("hello 10.99.0.2"), "{said}");
    Ok(())
}

fn ports_in_use_are_told(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let a = d.ok(&["run", "-d", "-p", "8090:80", "busybox", "sleep", "1000"])?;
    d.cli(&["run", "-d", "-p", "8090:80", "busybox", "sleep", "1000"])?.fails(125, &["8090", "already"])?;
    let taken = d.net.within(|| std::net::TcpListener::bind("0.0.0.0:8091"))??;
    d.cli(&["run", "-d", "-p", "8091:80", "busybox", "sleep", "1000"])?
        .fails(125, &["8091", "address already in use"])?;
    drop(taken);
    d.ok(&["rm", "-f", &a])?;
    let b = d.ok(&["run", "-d", "-p", "8090:80", "-p", "8091:81", "busybox", "sleep", "1000"])?;
    let bound = d.net.within(|| std::net::TcpListener::bind("0.0.0.0:8090").is_err())?;
    ensure!(bound, "a program of the machine can't take a published port");
    d.ok(&["rm", "-f", &b])?;
    Ok(())
}

fn free_ports_and_ranges(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = server(&d, &["-p", "80", "-p", "127.0.0.1:9000-9010:81"])?;
    let ports = d.inspect(&id)?["NetworkSettings"]["Ports"].clone();
    let port = ports["80/tcp"][0]["HostPort"].as_str().context("a free port")?.to_owned();
    ensure!(ask(&d, &format!("127.0.0.1:{port}"))?.contains("hello"));
    let ranged: u16 = ports["81/tcp"][0]["HostPort"].as_str().context("a port of the range")?.parse()?;
    ensure!((9000..=9010).contains(&ranged), "{ranged}");
    let listed = d.ok(&["ps", "--format", "{{.Ports}}"])?;
    ensure!(listed.contains(&format!("0.0.0.0:{port}->80/tcp")), "{listed}");
    d.ok(&["rm", "-f", &id])?;
    let id = server(&d, &["-P", "--expose", "80"])?;
    ensure!(d.inspect(&id)?["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"].as_str().is_some());
    Ok(())
}

fn none_has_loopback_only(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let out = d.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "ls /sys/class/net; cat /sys/class/net/lo/operstate; ping -c 1 127.0.0.1 | grep -c '1 packets received'",
    ])?;
    ensure!(out == "lo\nunknown\n1", "{out}");
    Ok(())
}

fn host_is_the_daemons(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let inside = d.ok(&["run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net"])?;
    ensure!(inside == std::fs::read_link(format!("/proc/{}/ns/net", d.pid()))?.display().to_string());
    let r = d.cli(&["run", "--rm", "--network", "host", "-p", "80:80", "busybox", "true"])?;
    ensure!(r.code == 0, "published ports are discarded with a word: {r:?}");
    d.cli(&["run", "--rm", "--network", "nosuch", "busybox", "true"])?.fails(125, &["nosuch"])?;
    Ok(())
}

fn files_are_written(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let out = d.ok(&[
        "run",
        "--rm",
        "-h",
        "box",
        "--add-host",
        "db:10.1.2.3",
        "--dns",
        "9.9.9.9",
        "--dns-search",
        "lan",
        "--dns-option",
        "ndots:2",
        "busybox",
        "sh",
        "-c",
        "cat /etc/hosts /etc/hostname /etc/resolv.conf",
    ])?;
    for want in [
        "127.0.0.1\tlocalhost",
        "10.1.2.3\tdb",
        "\tbox",
        "\nbox\n",
        "nameserver 9.9.9.9",
        "search lan",
        "options ndots:2",
    ] {
        ensure!(out.contains(want), "{want:?} is missing in:\n{out}");
    }
    Ok(())
}

fn addresses_and_ports_come_back(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    // more containers in a row than a small pool of leaked addresses or ports could bear
    for _ in 0..30 {
        d.ok(&["run", "--rm", "-p", "8099:80", "busybox", "true"])?;
    }
    let links = d.net.run(&["ip", "-o", "link"])?;
    until("the links to go", || {
        Ok(d.net.run(&["ip", "-o", "link"])?.lines().filter(|l| l.contains("veth")).count().le(&8).then_some(()))
    })
    .with_context(|| links.clone())?;
    Ok(())
}

fn restart_keeps_publishing(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = server(&d, &["-p", "8088:80"])?;
    d.kill()?;
    ensure!(ask(&d, "127.0.0.1:8088")?.contains("hello"), "without the daemon");
    d.up()?;
    ensure!(ask(&d, "127.0.0.1:8088")?.contains("hello"), "with the next one");
    d.cli(&["run", "--rm", "-p", "8088:80", "busybox", "true"])?.fails(125, &["8088"])?;
    let b = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    ensure!(address(&d, &b)? != address(&d, &id)?, "an address in use is not given twice");
    d.ok(&["rm", "-f", &id])?;
    ensure!(ask(&d, "127.0.0.1:8088").is_err());
    Ok(())
}
