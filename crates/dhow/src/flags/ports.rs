//! `-p` and `--expose`. Rule: Docker's `run` reference, "Publish or expose port".

use anyhow::{Context, Result, bail};
use dhow_api::{Empty, PortBinding, PortMap};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What the flags ask for: bindings by `port/proto`, and all ports that are exposed.
pub type Ports = (PortMap, BTreeMap<String, Empty>);

/// Takes all `-p` and `--expose` values apart.
pub fn parse(publish: &[String], expose: &[String]) -> Result<Ports> {
    let mut bindings = PortMap::new();
    let mut exposed = BTreeMap::new();
    for text in publish {
        for (port, binding) in publication(text).with_context(|| format!("invalid -p {text:?}"))? {
            exposed.insert(port.clone(), Empty {});
            bindings.entry(port).or_default().get_or_insert_default().push(binding);
        }
    }
    for text in expose {
        let (range, proto) = protocol(text).with_context(|| format!("invalid --expose {text:?}"))?;
        let (from, to) = range_of(range).with_context(|| format!("invalid --expose {text:?}"))?;
        exposed.extend((from..=to).map(|p| (format!("{p}/{proto}"), Empty {})));
    }
    Ok((bindings, exposed))
}

fn publication(text: &str) -> Result<Vec<(String, PortBinding)>> {
    let (text, proto) = protocol(text)?;
    // [ip:]host:container; the address may be an IPv6 one in brackets
    let (rest, container) = match text.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, text),
    };
    let (ip, host) = match rest {
        None => ("", ""),
        Some(rest) => match rest.strip_prefix('[') {
            Some(v6) => {
                let (ip, host) = v6.split_once(']').context("an IPv6 address wants its closing bracket")?;
                (ip, host.strip_prefix(':').unwrap_or(host))
            }
            None => rest.rsplit_once(':').unwrap_or(("", rest)),
        },
    };
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        bail!("invalid IP address {ip:?}");
    }
    let (from, to) = range_of(container)?;
    let host_range = if host.is_empty() { None } else { Some(range_of(host)?) };
    let count = to - from;
    if let Some((low, high)) = host_range {
        // one container port may take any one of a range of the machine's ports
        if high - low != count && count != 0 {
            bail!("the ranges {host} and {container} differ in length");
        }
    }
    Ok((from..=to)
        .map(|port| {
            let host_port = match host_range {
                None => String::new(),
                Some((low, high)) if count == 0 && high != low => format!("{low}-{high}"),
                Some((low, _)) => (low + (port - from)).to_string(),
            };
            (format!("{port}/{proto}"), PortBinding { host_ip: ip.to_owned(), host_port })
        })
        .collect())
}

fn protocol(text: &str) -> Result<(&str, &str)> {
    let (range, proto) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    match proto.to_ascii_lowercase().as_str() {
        "tcp" => Ok((range, "tcp")),
        "udp" => Ok((range, "udp")),
        "sctp" => Ok((range, "sctp")),
        other => bail!("invalid protocol {other:?}: want tcp, udp or sctp"),
    }
}

fn range_of(text: &str) -> Result<(u16, u16)> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => bail!("invalid port {text:?}: want 1 to 65535"),
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (port(from)?, port(to)?);
    if to < from {
        bail!("the range {text} ends before it begins");
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(text: &str) -> String {
        match parse(&[text.to_owned()], &[]) {
            Err(e) => format!("ERR {e:#}"),
            Ok((map, _)) => map
                .into_iter()
                .flat_map(|(port, b)| {
                    b.unwrap_or_default().into_iter().map(move |b| format!("{}|{}|{port}", b.host_ip, b.host_port))
                })
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn every_form_of_publication() {
        for (text, want) in [
            ("80", "||80/tcp"),
            ("8080:80", "|8080|80/tcp"),
            ("8080:80/udp", "|8080|80/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1|8080|80/tcp"),
            ("127.0.0.1::80", "127.0.0.1||80/tcp"),
            ("[::1]:8080:80", "::1|8080|80/tcp"),
            ("8000-8001:80-81", "|8000|80/tcp |8001|81/tcp"),
            ("8000-8010:80", "|8000-8010|80/tcp"),
            ("80-81", "||80/tcp ||81/tcp"),
        ] {
            assert_eq!(flat(text), want, "{text}");
        }
        for (text, part) in [
            ("0", "1 to 65535"),
            ("x:80", "invalid port"),
            ("8000-8001:80-85", "differ in length"),
            ("300.1.1.1:80:80", "invalid IP"),
            ("80/icmp", "invalid protocol"),
            ("81-80", "ends before"),
            ("[::1:80", "bracket"),
        ] {
            assert!(flat(text).contains(part), "{text}: {}", flat(text));
        }
    }

    #[test]
    fn exposed_ranges() {
        let (_, exposed) = parse(&["1:2".into()], &["53/udp".into(), "10-11".into()]).unwrap();
        assert_eq!(exposed.keys().map(String::as_str).collect::<Vec<_>>(), ["10/tcp", "11/tcp", "2/tcp", "53/udp"]);
    }
}
