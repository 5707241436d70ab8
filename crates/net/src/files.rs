//! The texts of `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container: pure functions.
//!
//! Writing them, and choosing the hostname, is the engine's.

use std::fmt::Write as _;
use std::net::IpAddr;

/// Nameservers used when a bridged container would be left with none (Docker's choice too).
pub const FALLBACK_NAMESERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];
/// glibc reads no more nameservers than this from resolv.conf(5).
const MAX_NAMESERVERS: usize = 3;

/// Where systemd-resolved keeps the real nameservers.
pub const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// Whether the host's text names nothing but systemd-resolved's stub: then [`RESOLVED_CONF`] is the text to give to
/// [`resolv_conf`] for a namespace of its own.
pub fn names_only_the_stub(host_text: &str) -> bool {
    let mut nameservers = host_text.lines().filter_map(|l| l.trim().strip_prefix("nameserver")).map(str::trim);
    nameservers.next() == Some("127.0.0.53") && nameservers.next().is_none()
}

/// `/etc/hosts`: loopback names, then `extra` (`--add-host`: name, address) in order, then the container's own
/// address with its names.
pub fn hosts(hostname: &str, domainname: &str, ip: Option<IpAddr>, extra: &[(String, IpAddr)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    if let Some(ip) = ip {
        let _ = match domainname {
            "" => writeln!(text, "{ip}\t{hostname}"),
            domain => writeln!(text, "{ip}\t{hostname}.{domain} {hostname}"),
        };
    }
    text
}

/// `/etc/hostname`.
pub fn hostname(hostname: &str) -> String {
    format!("{hostname}\n")
}

/// `/etc/resolv.conf`: the host's text, with `dns`, `search` and `options` in place of its own where given
/// (`--dns-search .` means no search list). In a namespace of its own a container can't reach resolvers on the
/// host's loopback, so those are left out there, and public ones stand in when none remains.
pub fn resolv_conf(
    host_text: &str,
    dns: &[String],
    search: &[String],
    options: &[String],
    in_host_net: bool,
) -> String {
    let mut nameservers: Vec<String> = Vec::new();
    let mut host_search: Vec<String> = Vec::new();
    let mut host_options: Vec<String> = Vec::new();
    let mut others: Vec<&str> = Vec::new();
    for line in host_text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => nameservers.extend(words.next().map(str::to_owned)),
            // The last of several search (or domain) lines counts: resolv.conf(5).
            Some("search" | "domain") => host_search = words.map(str::to_owned).collect(),
            Some("options") => host_options.extend(words.map(str::to_owned)),
            Some(_) => others.push(line),
            None => {}
        }
    }
    if !dns.is_empty() {
        nameservers = dns.to_vec();
    } else if !in_host_net {
        nameservers.retain(|n| reachable_from_own_netns(n));
        if nameservers.is_empty() {
            nameservers = FALLBACK_NAMESERVERS.map(str::to_owned).to_vec();
        }
    }
    if dns.is_empty() {
        nameservers.truncate(MAX_NAMESERVERS);
    }
    let search = if search.is_empty() { &host_search } else { search };
    let options = if options.is_empty() { &host_options } else { options };

    let mut text = String::new();
    for nameserver in &nameservers {
        let _ = writeln!(text, "nameserver {nameserver}");
    }
    if !search.is_empty() && search != ["."] {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    for line in others {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// Neither on the loopback, nor tied to a host interface (`fe80::1%eth0`), nor IPv6, which bridged containers lack.
fn reachable_from_own_netns(nameserver: &str) -> bool {
    matches!(nameserver.parse::<IpAddr>(), Ok(IpAddr::V4(ip)) if !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(s: &[&str]) -> Vec<String> {
        s.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn resolv_conf_table() {
        let host = "# made by x\nnameserver 127.0.0.53\nnameserver 10.0.0.1 # lan\nnameserver ::1\ndomain old\nsearch corp lan\noptions edns0\nsortlist 10.0.0.0\n";
        type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str], bool, &'a str);
        let rows: &[Row<'_>] = &[
            (host, &[], &[], &[], false, "nameserver 10.0.0.1\nsearch corp lan\noptions edns0\nsortlist 10.0.0.0\n"),
            (
                host,
                &[],
                &[],
                &[],
                true,
                "nameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver ::1\nsearch corp lan\noptions edns0\nsortlist 10.0.0.0\n",
            ),
            (
                host,
                &["127.0.0.1"],
                &["."],
                &["ndots:2", "rotate"],
                false,
                "nameserver 127.0.0.1\noptions ndots:2 rotate\nsortlist 10.0.0.0\n",
            ),
            (
                "nameserver 127.0.0.11\n",
                &[],
                &["a.b"],
                &[],
                false,
                "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch a.b\n",
            ),
            ("", &[], &[], &[], true, ""),
            ("nameserver fe80::1%eth0\n", &[], &[], &[], false, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
            (
                "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4\n",
                &[],
                &[],
                &[],
                false,
                "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n",
            ),
        ];
        for (host, dns, search, options, in_host, want) in rows {
            let got = resolv_conf(host, &strings(dns), &strings(search), &strings(options), *in_host);
            assert_eq!(&got, want, "{host:?} {dns:?} {search:?} {options:?} {in_host}");
        }
    }

    #[test]
    fn the_stub_of_systemd_resolved() {
        assert!(names_only_the_stub("# x\nnameserver 127.0.0.53\noptions edns0\n"));
        for other in ["", "nameserver 1.1.1.1\n", "nameserver 127.0.0.53\nnameserver 1.1.1.1\n"] {
            assert!(!names_only_the_stub(other), "{other}");
        }
    }

    #[test]
    fn hosts_and_hostname() {
        let ip = "172.17.0.2".parse().ok();
        let text = hosts("web", "", ip, &[("db".into(), "10.0.0.9".parse().unwrap())]);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.0.0.9\tdb\n172.17.0.2\tweb\n"), "{text}");
        assert!(hosts("web", "example.org", ip, &[]).ends_with("172.17.0.2\tweb.example.org web\n"));
        assert!(!hosts("web", "", None, &[]).contains("web"));
        assert_eq!(hostname("web"), "web\n");
    }
}
