//! Under which name a registry's credentials are kept. Rules: Docker's `getAuthConfigKey` and `ConvertToHostname`.

/// Where Docker Hub's credentials are kept: the address of its first index, for all time.
pub const HUB: &str = "https://index.docker.io/v1/";

/// The name for the domain of an image.
pub fn of_domain(domain: &str) -> &str {
    match domain {
        "docker.io" | "index.docker.io" => HUB,
        other => other,
    }
}

/// The name for the server of `login` and `logout`, as it was written; Docker Hub's without one.
pub fn of_server(server: Option<&str>) -> String {
    match server.filter(|s| !s.is_empty()) {
        None | Some("docker.io" | HUB) => HUB.to_owned(),
        Some(server) => host(server),
    }
}

/// The name for a term of `search`: its first part, if that can only be a host.
pub fn of_term(term: &str) -> &str {
    match term.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => of_domain(host),
        _ => HUB,
    }
}

/// Host and port of what may be a URL.
pub fn host(written: &str) -> String {
    let Some((_, rest)) = written.split_once("://") else {
        return written.split('/').next().unwrap_or_default().to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_suffix(':').unwrap_or(host) {
        // A scheme alone is a host of this name.
        "" => written.split('/').next().unwrap_or_default().to_owned(),
        // Without a port, Go gives an address without its brackets.
        v6 if v6.starts_with('[') && v6.ends_with(']') => v6[1..v6.len() - 1].to_owned(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_what_people_write() {
        for (written, want) in [
            ("registry.example.com", "registry.example.com"),
            ("registry.example.com:5000", "registry.example.com:5000"),
            ("registry.example.com/v1/", "registry.example.com"),
            ("http://registry.example.com", "registry.example.com"),
            ("https://registry.example.com:5000/v2/", "registry.example.com:5000"),
            ("https://user@registry.example.com/x?y#z", "registry.example.com"),
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("http://[::1]:5000/v1/", "[::1]:5000"),
            ("http://[::1]/v1/", "::1"),
            ("https://a:", "a"),
            ("https://", "https:"),
            ("", ""),
        ] {
            assert_eq!(host(written), want, "{written:?}");
        }
    }

    #[test]
    fn names_of_servers_domains_and_terms() {
        for (server, want) in [
            (None, HUB),
            (Some(""), HUB),
            (Some("docker.io"), HUB),
            (Some(HUB), HUB),
            (Some("index.docker.io"), "index.docker.io"),
            (Some("https://a:1/v2/"), "a:1"),
        ] {
            assert_eq!(of_server(server), want, "{server:?}");
        }
        assert_eq!((of_domain("docker.io"), of_domain("a:1")), (HUB, "a:1"));
        for (term, want) in [
            ("busybox", HUB),
            ("a/b", HUB),
            ("a.b/c", "a.b"),
            ("a:1/c", "a:1"),
            ("localhost/c", "localhost"),
            ("docker.io/c", HUB),
        ] {
            assert_eq!(of_term(term), want, "{term}");
        }
    }
}
