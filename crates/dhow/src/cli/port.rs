//! `port`: where a container's ports are reached.

use super::context::Context;
use super::output;
use anyhow::{Result, bail};
use clap::Parser;
use dhow_api::{ContainerInspect, PortBinding, PortMap};
use dhow_client::query::encode;
use std::cmp::Ordering;

/// Show where the ports of a container are published
#[derive(Parser, Debug)]
pub struct PortArgs {
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Only this port of the container (tcp, unless it says)
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    port: Option<String>,
}

/// `dhow port`.
pub fn port(context: &Context, args: PortArgs) -> Result<i32> {
    let path = format!("/containers/{}/json", encode(&args.container));
    let inspected: ContainerInspect = context.with_daemon(&context.client(), |c| c.get(&path))?;
    let asked = args.port.as_deref().filter(|port| !port.is_empty());
    for line in lines(&inspected.network_settings.ports, asked, &args.container)? {
        output::line(line);
    }
    Ok(0)
}

fn lines(ports: &PortMap, asked: Option<&str>, container: &str) -> Result<Vec<String>> {
    let mut out: Vec<String> = match asked {
        Some(asked) => {
            let (number, protocol) = asked.split_once('/').unwrap_or((asked, ""));
            if number.parse::<u16>().is_err() {
                bail!("Error: invalid port ({number}): want a number up to 65535");
            }
            let key = format!("{number}/{}", if protocol.is_empty() { "tcp" } else { protocol });
            match ports.get(&key) {
                Some(Some(bindings)) if !bindings.is_empty() => bindings.iter().map(address).collect(),
                _ => bail!("Error: No public port '{asked}' published for {container}"),
            }
        }
        None => {
            let all = ports.iter().flat_map(|(port, bindings)| bindings.iter().flatten().map(move |b| (port, b)));
            all.map(|(port, binding)| format!("{port} -> {}", address(binding))).collect()
        }
    };
    out.sort_by(|a, b| natural(a, b));
    Ok(out)
}

/// An IPv6 address is put in brackets.
fn address(binding: &PortBinding) -> String {
    match binding.host_ip.contains(':') {
        true => format!("[{}]:{}", binding.host_ip, binding.host_port),
        false => format!("{}:{}", binding.host_ip, binding.host_port),
    }
}

/// Numbers in texts by their value: `80/tcp` before `443/tcp`.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (x, y) = (digits(a), digits(b));
        if x > 0 && y > 0 {
            let value = |text: &str| text.parse::<u128>().unwrap_or(u128::MAX);
            match value(&a[..x]).cmp(&value(&b[..y])) {
                Ordering::Equal => (a, b) = (&a[x..], &b[y..]),
                other => return other,
            }
            continue;
        }
        let (mut left, mut right) = (a.chars(), b.chars());
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (x, y) if x == y => (a, b) = (left.as_str(), right.as_str()),
            (x, y) => return x.cmp(&y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> PortMap {
        let at = |ip: &str, port: &str| PortBinding { host_ip: ip.into(), host_port: port.into() };
        PortMap::from([
            ("443/tcp".into(), Some(vec![at("0.0.0.0", "8443")])),
            ("80/tcp".into(), Some(vec![at("0.0.0.0", "32768"), at("::", "8080")])),
            ("80/udp".into(), Some(vec![at("127.0.0.1", "9")])),
            ("99/tcp".into(), None),
        ])
    }

    #[test]
    fn all_ports_by_number() {
        let want =
            ["80/tcp -> 0.0.0.0:32768", "80/tcp -> [::]:8080", "80/udp -> 127.0.0.1:9", "443/tcp -> 0.0.0.0:8443"];
        assert_eq!(lines(&ports(), None, "c").unwrap(), want);
        assert!(lines(&PortMap::new(), None, "c").unwrap().is_empty());
    }

    #[test]
    fn one_port() {
        assert_eq!(lines(&ports(), Some("443"), "c").unwrap(), ["0.0.0.0:8443"]);
        assert_eq!(lines(&ports(), Some("80/udp"), "c").unwrap(), ["127.0.0.1:9"]);
        for (asked, want) in [
            ("99", "No public port '99' published for c"),
            ("443/udp", "No public port '443/udp' published for c"),
            ("x", "invalid port (x)"),
            ("70000", "invalid port (70000)"),
        ] {
            assert!(lines(&ports(), Some(asked), "c").unwrap_err().to_string().contains(want), "{asked}");
        }
    }

    #[test]
    fn numbers_in_texts() {
        for (a, b, want) in [
            ("80/tcp", "443/tcp", Ordering::Less),
            ("a10b", "a9b", Ordering::Greater),
            ("a", "a1", Ordering::Less),
            ("x", "x", Ordering::Equal),
        ] {
            assert_eq!(natural(a, b), want, "{a} {b}");
        }
    }
}
