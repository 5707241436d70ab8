//! Options of the driver `syslog`: where the daemon is, the facility, the form of a message.

use dhow_shim::protocol::SyslogFormat;
use dhow_types::{Error, Result};

/// The port of syslog.
const PORT: u16 = 514;
const FACILITIES: [&str; 12] =
    ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"];
/// `daemon`.
const DEFAULT_FACILITY: u8 = 3;

/// A syslog daemon and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// Where it is.
    pub address: Address,
    /// 0 to 23.
    pub facility: u8,
    /// The form of a message.
    pub format: SyslogFormat,
}

/// An address, names not yet resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Wherever it is found on this machine.
    Local,
    /// `unix://PATH`
    Unix(String),
    /// `unixgram://PATH`
    Unixgram(String),
    /// `udp://HOST[:PORT]`
    Udp(String, u16),
    /// `tcp://HOST[:PORT]`
    Tcp(String, u16),
}

/// Reads the three options; an empty one was not given.
pub fn parse(address: &str, facility: &str, format: &str) -> Result<Syslog> {
    Ok(Syslog { address: self::address(address)?, facility: self::facility(facility)?, format: self::format(format)? })
}

/// Why there is no TLS.
pub fn no_tls(what: &str) -> Error {
    Error::not_implemented(format!(
        "{what}: syslog over TLS is not built; send to a relay on this machine that speaks TLS (rsyslog, syslog-ng, \
         stunnel) by unixgram://, unix:// or tcp://"
    ))
}

fn address(text: &str) -> Result<Address> {
    if text.is_empty() {
        return Ok(Address::Local);
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    match scheme {
        "unix" | "unixgram" => {
            if !rest.starts_with('/') {
                return Err(Error::invalid(format!("syslog-address {text}: want {scheme}:///PATH")));
            }
            let path = rest.to_owned();
            Ok(if scheme == "unix" { Address::Unix(path) } else { Address::Unixgram(path) })
        }
        "udp" | "tcp" => {
            let (host, port) = host_port(rest.split(['/', '?', '#']).next().unwrap_or_default())
                .ok_or_else(|| Error::invalid(format!("syslog-address {text}: want {scheme}://HOST[:PORT]")))?;
            Ok(if scheme == "udp" { Address::Udp(host, port) } else { Address::Tcp(host, port) })
        }
        "tcp+tls" => Err(no_tls("syslog-address tcp+tls")),
        other => Err(Error::invalid(format!("unsupported scheme: '{other}'"))),
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, `:port` (this machine).
fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))?)
        }
        None => match text.split_once(':') {
            // An address of version 6 without brackets: nobody knows where its port begins.
            Some((_, port)) if port.contains(':') => return None,
            Some(both) => both,
            None => (text, ""),
        },
    };
    let port = if port.is_empty() { PORT } else { port.parse().ok().filter(|p| *p > 0)? };
    let host = if host.is_empty() { "localhost" } else { host };
    (!host.contains(char::is_whitespace)).then(|| (host.to_owned(), port))
}

fn facility(text: &str) -> Result<u8> {
    if text.is_empty() {
        return Ok(DEFAULT_FACILITY);
    }
    if let Some(at) = FACILITIES.iter().position(|name| *name == text) {
        return Ok(at as u8);
    }
    let local =
        text.strip_prefix("local").filter(|n| n.len() == 1).and_then(|n| n.parse().ok()).filter(|n: &u8| *n < 8);
    local
        .map(|n| 16 + n)
        .or_else(|| text.parse().ok().filter(|n| *n < 24))
        .ok_or_else(|| Error::invalid("invalid syslog facility"))
}

fn format(text: &str) -> Result<SyslogFormat> {
    match text {
        "" => Ok(SyslogFormat::Local),
        "rfc3164" => Ok(SyslogFormat::Rfc3164),
        "rfc5424" => Ok(SyslogFormat::Rfc5424),
        "rfc5424micro" => Ok(SyslogFormat::Rfc5424Micro),
        _ => Err(Error::invalid("Invalid syslog format")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |host: &str, port| Address::Tcp(host.into(), port);
        for (text, want) in [
            ("", Address::Local),
            ("unix:///dev/log", Address::Unix("/dev/log".into())),
            ("unixgram:///dev/log", Address::Unixgram("/dev/log".into())),
            ("udp://10.0.0.1:1514", Address::Udp("10.0.0.1".into(), 1514)),
            ("udp://host", Address::Udp("host".into(), 514)),
            ("tcp://host:99", tcp("host", 99)),
            ("tcp://host:99/", tcp("host", 99)),
            ("tcp://[fe80::1]:99", tcp("fe80::1", 99)),
            ("tcp://[::1]", tcp("::1", 514)),
            ("tcp://:99", tcp("localhost", 99)),
        ] {
            assert_eq!(address(text).unwrap(), want, "{text}");
        }
        for (text, want) in [
            ("host:514", "unsupported scheme: ''"),
            ("http://host", "unsupported scheme: 'http'"),
            ("unix://relative", "want unix:///PATH"),
            ("tcp://fe80::1:99", "want tcp://HOST[:PORT]"),
            ("tcp://host:0", "want tcp://HOST[:PORT]"),
            ("tcp://host:x", "want tcp://HOST[:PORT]"),
            ("udp://[::1", "want udp://HOST[:PORT]"),
            ("tcp+tls://host:6514", "syslog over TLS is not built"),
        ] {
            let error = address(text).unwrap_err();
            assert!(error.text().contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn facilities_and_formats() {
        for (text, want) in [("", 3), ("kern", 0), ("ftp", 11), ("local0", 16), ("local7", 23), ("0", 0), ("23", 23)] {
            assert_eq!(facility(text).unwrap(), want, "{text}");
        }
        for bad in ["24", "-1", "local8", "local", "LOCAL1", "local10", "x"] {
            assert_eq!(facility(bad).unwrap_err().text(), "invalid syslog facility", "{bad}");
        }
        assert_eq!(format("rfc5424micro").unwrap(), SyslogFormat::Rfc5424Micro);
        assert_eq!(format("rfc1").unwrap_err().text(), "Invalid syslog format");
    }
}
