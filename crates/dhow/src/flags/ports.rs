//! `-p` and `--expose`. Rule: Docker's `run` reference, "Publish or expose port".

use anyhow::{Context, Result, anyhow, bail};
use dhow_api::{Empty, PortBinding, PortMap};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::IntErrorKind;

/// What the flags ask for: bindings by `port/proto`, and all ports that are exposed.
pub type Ports = (PortMap, BTreeMap<String, Empty>);

/// Takes all `-p` and `--expose` values apart.
pub fn parse(publish: &[String], expose: &[String]) -> Result<Ports> {
    let mut bindings = PortMap::new();
    let mut exposed = BTreeMap::new();
    for text in publish {
        let short = if text.contains('=') { short_form(text)? } else { text.clone() };
        for (port, binding) in publication(&short)? {
            exposed.insert(port.clone(), Empty {});
            bindings.entry(port).or_default().get_or_insert_default().push(binding);
        }
    }
    for text in expose {
        if text.contains(':') {
            bail!("invalid port format for --expose: {text}");
        }
        let (range, proto) = protocol(text);
        let (from, to) =
            range_of(range).map_err(|why| anyhow!("invalid range format for --expose: {text}, error: {why}"))?;
        // What the protocol may be, the daemon says.
        exposed.extend((from..=to).map(|p| (format!("{p}/{proto}"), Empty {})));
    }
    Ok((bindings, exposed))
}

/// `published=8080,target=80,protocol=tcp` as `8080:80/tcp`.
fn short_form(text: &str) -> Result<String> {
    let mut fields = BTreeMap::from([("protocol", "tcp")]);
    for field in text.split(',') {
        match field.split_once('=') {
            Some((name, value)) if !name.is_empty() => fields.insert(name, value),
            _ => bail!("invalid publish opts format (should be name=value but got '{field}')"),
        };
    }
    let field = |name: &str| fields.get(name).copied().unwrap_or_default();
    Ok(format!("{}:{}/{}", field("published"), field("target"), field("protocol")))
}

/// One publication. Order and words of what is refused are Docker's.
fn publication(text: &str) -> Result<Vec<(String, PortBinding)>> {
    // [ip:]host:container; the address may be an IPv6 one, which has colons of its own
    let (rest, container) = text.rsplit_once(':').unwrap_or(("", text));
    let (ip, host) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (container, proto) = protocol(container);
    let bare = match ip.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']').with_context(|| format!("invalid IP address {ip}: missing ']' in address"))?,
        None => ip,
    };
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        bail!("invalid IP address: {bare}");
    }
    if container.is_empty() {
        bail!("no port specified: {text}<empty>");
    }
    let (from, to) = range_of(container).map_err(|_| anyhow!("invalid containerPort: {container}"))?;
    let host_range = match host {
        "" => None,
        host => Some(range_of(host).map_err(|_| anyhow!("invalid hostPort: {host}"))?),
    };
    let count = to - from;
    if let Some((low, high)) = host_range {
        // one container port may take any one of a range of the machine's ports
        if high - low != count && count != 0 {
            bail!("invalid ranges specified for container and host Ports: {container} and {host}");
        }
    }
    let lower = proto.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&lower.as_str()) {
        bail!("invalid proto: {proto}");
    }
    Ok((from..=to)
        .map(|port| {
            let host_port = match host_range {
                None => String::new(),
                Some((low, high)) if count == 0 && high != low => format!("{low}-{high}"),
                Some((low, _)) => (low + (port - from)).to_string(),
            };
            (format!("{port}/{lower}"), PortBinding { host_ip: bare.to_owned(), host_port })
        })
        .collect())
}

/// Ports and protocol; no ports in front of a slash are nothing.
fn protocol(text: &str) -> (&str, &str) {
    let (range, proto) = text.split_once('/').unwrap_or((text, "tcp"));
    let proto = proto.split('/').next().filter(|p| !p.is_empty()).unwrap_or("tcp");
    (range, if range.is_empty() { "" } else { proto })
}

/// First and last port. What is wrong is said as Go says it.
fn range_of(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| {
        text.parse::<u16>().map_err(|e| {
            let why = if *e.kind() == IntErrorKind::PosOverflow { "value out of range" } else { "invalid syntax" };
            format!("strconv.ParseUint: parsing {text:?}: {why}")
        })
    };
    if text.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    let mut ends = text.split('-');
    let from = port(ends.next().unwrap_or_default())?;
    let to = ends.next().map_or(Ok(from), port)?;
    match to < from {
        true => Err(format!("invalid range specified for port: {text}")),
        false => Ok((from, to)),
    }
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
            ("[::1]::80", "::1||80/tcp"),
            ("8080:80/", "|8080|80/tcp"),
            ("8080:80/UDP", "|8080|80/udp"),
            ("published=8080,target=80,protocol=udp", "|8080|80/udp"),
            ("target=80", "||80/tcp"),
            ("8000-8001:80-81", "|8000|80/tcp |8001|81/tcp"),
            ("8000-8010:80", "|8000-8010|80/tcp"),
            ("80-81", "||80/tcp ||81/tcp"),
        ] {
            assert_eq!(flat(text), want, "{text}");
        }
        for (text, part) in [
            ("x", "invalid containerPort: x"),
            ("99999", "invalid containerPort: 99999"),
            ("x:80", "invalid hostPort: x"),
            ("8000-8001:80-85", "invalid ranges specified for container and host Ports: 80-85 and 8000-8001"),
            ("300.1.1.1:80:80", "invalid IP address: 300.1.1.1"),
            ("80/icmp", "invalid proto: icmp"),
            ("81-80", "invalid containerPort: 81-80"),
            ("[::1:80:80", "invalid IP address [::1"),
            ("80:", "no port specified: 80:<empty>"),
            ("", "no port specified: <empty>"),
            ("target=80,x", "should be name=value but got 'x'"),
        ] {
            assert!(flat(text).contains(part), "{text}: {}", flat(text));
        }
    }

    #[test]
    fn exposed_ranges() {
        let refused = |text: &str| parse(&[], &[text.to_owned()]).unwrap_err().to_string();
        assert_eq!(refused("1:2"), "invalid port format for --expose: 1:2");
        let why = "strconv.ParseUint: parsing \"x\": invalid syntax";
        assert_eq!(refused("x"), format!("invalid range format for --expose: x, error: {why}"));
        let (_, exposed) = parse(&["1:2".into()], &["53/udp".into(), "10-11".into()]).unwrap();
        assert_eq!(exposed.keys().map(String::as_str).collect::<Vec<_>>(), ["10/tcp", "11/tcp", "2/tcp", "53/udp"]);
    }
}
