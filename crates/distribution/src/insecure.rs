//! Registries that are trusted without TLS: those named so, and those on the machine itself. Rule: Docker's.

use ipnet::IpNet;
use std::net::IpAddr;

/// The list, read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Insecure {
    hosts: Vec<String>,
    nets: Vec<IpNet>,
}

impl Insecure {
    /// Reads `insecure-registries`: `host[:port]` or networks. An error names the entry.
    pub(crate) fn read(list: &[String]) -> Result<Self, String> {
        let mut out = Self::default();
        for entry in list.iter().map(String::as_str).chain(["::1/128", "127.0.0.0/8"]) {
            let lower = entry.to_ascii_lowercase();
            let bare = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://")).unwrap_or(&lower);
            if bare.contains("://") {
                return Err(format!("insecure registry {entry} should not contain '://'"));
            }
            if bare.starts_with('-') || bare.ends_with('-') {
                return Err(format!("invalid index name ({entry}). Cannot begin or end with a hyphen"));
            }
            match bare.parse::<IpNet>() {
                Ok(net) if out.nets.contains(&net.trunc()) => {}
                Ok(net) => out.nets.push(net.trunc()),
                Err(_) if crate::address::Origin::new(true, bare).is_ok() => out.hosts.push(bare.to_owned()),
                Err(_) => return Err(format!("insecure registry {entry} is not valid: invalid host {bare:?}")),
            }
        }
        Ok(out)
    }
    /// The networks.
    pub(crate) fn networks(&self) -> Vec<String> {
        self.nets.iter().map(IpNet::to_string).collect()
    }
    /// The names, `host[:port]`.
    pub(crate) fn hosts(&self) -> &[String] {
        &self.hosts
    }
    /// Whether `authority` (`host[:port]`) is named itself.
    pub(crate) fn names(&self, authority: &str) -> bool {
        self.hosts.iter().any(|h| h.eq_ignore_ascii_case(authority))
    }
    /// Whether all of the host's addresses, and there are some, are in networks of the list. Docker asks for one: then an
    /// answer of a name server that adds 127.0.0.1 would turn the check of certificates off.
    pub(crate) fn covers(&self, addresses: &[IpAddr]) -> bool {
        !addresses.is_empty() && addresses.iter().all(|a| self.nets.iter().any(|n| n.contains(a)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_rules() {
        let list = ["reg.example.com:5000", "10.0.0.0/8", "http://plain.example.com"].map(String::from);
        let i = Insecure::read(&list).unwrap();
        assert!(i.names("reg.example.com:5000") && i.names("plain.example.com"));
        assert!(!i.names("reg.example.com") && !i.names("reg.example.com:443"));
        let ip = |t: &str| vec![t.parse().unwrap()];
        for (address, expected) in
            [("127.3.4.5", true), ("::1", true), ("10.9.9.9", true), ("11.0.0.1", false), ("fd00::1", false)]
        {
            assert_eq!(i.covers(&ip(address)), expected, "{address}");
        }
        let mixed: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "11.0.0.1".parse().unwrap()];
        assert!(!i.covers(&mixed) && !i.covers(&[]));
        for (bad, words) in [("ftp://x", "should not contain '://'"), ("a b", "invalid host \"a b\""), ("x-", "hyphen")]
        {
            assert!(Insecure::read(&[bad.into()]).unwrap_err().contains(words), "{bad}");
        }
    }
}
