//! `--add-host`.

use dhow_types::{Error, Result};
use std::net::IpAddr;

/// Parses `name:address` or `name=address`; `None` stands for the machine as the container sees it (`host-gateway`).
pub fn parse(text: &str) -> Result<(&str, Option<IpAddr>)> {
    let bad = || Error::invalid(format!("bad format for add-host: {text:?}: use name:address"));
    let (name, address) = text.split_once(['=', ':']).ok_or_else(bad)?;
    let good = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#');
    if !good {
        return Err(bad());
    }
    if address == "host-gateway" {
        return Ok((name, None));
    }
    let plain = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    let ip = plain.parse().map_err(|_| Error::invalid(format!("invalid IP address in add-host: {address:?}")))?;
    Ok((name, Some(ip)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        assert_eq!(parse("a:1.2.3.4").unwrap(), ("a", "1.2.3.4".parse().ok()));
        assert_eq!(parse("a=::1").unwrap(), ("a", "::1".parse().ok()));
        assert_eq!(parse("a:[::1]").unwrap(), ("a", "::1".parse().ok()));
        assert_eq!(parse("a:host-gateway").unwrap(), ("a", None));
        for bad in ["a", ":1.2.3.4", "a:x", "a b:1.2.3.4", "a\n:1.2.3.4", "#:1.2.3.4"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
