//! The servers that run inside containers: this very binary, bound into them, since it is static.
//!
//!   dhow-e2e --serve tcp PORT     says `hello ADDRESS` to each connection, then sends back what comes
//!   dhow-e2e --serve udp PORT     sends each datagram back

use anyhow::{Context as _, Result, bail};
use std::io::Write;
use std::net::{TcpListener, UdpSocket};

pub fn run(words: &[String]) -> Result<()> {
    let [kind, port] = words else { bail!("--serve wants tcp or udp, and a port") };
    let port: u16 = port.parse().context("port")?;
    match kind.as_str() {
        "tcp" => {
            let listener = TcpListener::bind(("0.0.0.0", port))?;
            println!("up");
            for stream in listener.incoming() {
                let mut stream = stream?;
                std::thread::spawn(move || -> Result<()> {
                    writeln!(stream, "hello {}", stream.peer_addr()?.ip())?;
                    std::io::copy(&mut stream.try_clone()?, &mut stream)?;
                    Ok(())
                });
            }
            Ok(())
        }
        "udp" => {
            let socket = UdpSocket::bind(("0.0.0.0", port))?;
            println!("up");
            let mut buffer = [0; 2048];
            loop {
                let (n, from) = socket.recv_from(&mut buffer)?;
                socket.send_to(&buffer[..n], from)?;
            }
        }
        other => bail!("--serve {other}"),
    }
}
