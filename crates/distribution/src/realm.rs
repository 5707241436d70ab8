//! Which token server may be shown a registry's password: a pure rule, so that it can be read and tested.
//!
//! A realm comes from the network, from whoever answers. Rule R6: a credential is for one origin. What a registry and
//! its token server usually are to each other is allowed, everything else has to be written down by the administrator.

use crate::address::Origin;
use std::collections::BTreeMap;

/// Whether a password for `registry` may be sent to `realm`. `allowed` has, by registry (`host[:port]`), further ones.
pub(crate) fn trusted(registry: &Origin, realm: &Origin, allowed: &BTreeMap<String, Vec<Origin>>) -> bool {
    if registry == realm {
        return true;
    }
    if registry.is_https() && !realm.is_https() {
        return false;
    }
    if allowed.get(&registry.authority()).is_some_and(|list| list.contains(realm)) {
        return true;
    }
    if !realm.is_https() || !registry.is_https() || realm.port() != 443 {
        return false;
    }
    same_site(registry.host(), realm.host())
}

/// One is below the other, or both are below one parent that is somebody's own domain.
fn same_site(a: &str, b: &str) -> bool {
    if [a, b]
        .iter()
        .any(|h| h.starts_with('[') || h.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit())))
    {
        return false;
    }
    site(a).is_some_and(|s| Some(s) == site(b))
}

/// The last two labels, three below short names of a country's registry such as `co.uk`. Below names that hand out
/// subdomains to strangers it is none.
fn site(host: &str) -> Option<String> {
    /// Suffixes below which neighbours are strangers and registries are known to stand.
    const SHARED: &[&str] = &[
        "amazonaws.com",
        "azurecr.io",
        "github.io",
        "gitlab.io",
        "pages.dev",
        "workers.dev",
        "web.app",
        "run.app",
        "cloudfront.net",
        "azurewebsites.net",
        "herokuapp.com",
        "ngrok.io",
        "fly.dev",
        "vercel.app",
        "netlify.app",
    ];
    if SHARED.iter().any(|s| host == *s || host.strip_suffix(s).is_some_and(|h| h.ends_with('.'))) {
        return None;
    }
    let labels: Vec<&str> = host.split('.').collect();
    let n = labels.len();
    let country = n >= 2 && labels[n - 1].len() == 2 && labels[n - 2].len() <= 3;
    let wanted = if country { 3 } else { 2 };
    (n >= wanted && labels.iter().all(|l| !l.is_empty())).then(|| labels[n - wanted..].join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;

    fn o(text: &str) -> Origin {
        Address::parse(text).unwrap().origin().clone()
    }

    #[test]
    fn who_may_have_a_password() {
        let none = BTreeMap::new();
        for (registry, realm, expected) in [
            ("https://registry-1.docker.io", "https://auth.docker.io", true),
            ("https://registry.gitlab.com", "https://gitlab.com", true),
            ("https://ghcr.io", "https://ghcr.io", true),
            ("https://r.example.co.uk", "https://auth.example.co.uk", true),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000", true),
            // Another site, scheme, port or address.
            ("https://r.example.com", "https://evil.com", false),
            ("https://r.example.com", "https://example.com.evil.com", false),
            ("https://r.example.com", "https://notexample.com", false),
            ("https://r.example.com", "http://r.example.com", false),
            ("https://r.example.com", "https://auth.example.com:8443", false),
            ("https://a.co.uk", "https://b.co.uk", false),
            ("https://one.azurecr.io", "https://two.azurecr.io", false),
            ("https://10.0.0.1", "https://10.0.0.2", false),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001", false),
            ("http://r.example.com", "https://auth.example.com", false),
            ("https://registry", "https://auth", false),
        ] {
            assert_eq!(trusted(&o(registry), &o(realm), &none), expected, "{registry} → {realm}");
        }
    }

    #[test]
    fn the_administrator_may_allow_more_but_no_plain_text_after_https() {
        let (r, a) = ("https://r.example.com", "https://evil.com");
        let allowed = BTreeMap::from([("r.example.com".to_owned(), vec![o(a), o("http://r.example.com")])]);
        assert!(trusted(&o(r), &o(a), &allowed));
        assert!(!trusted(&o("https://other.com"), &o(a), &allowed));
        assert!(!trusted(&o(r), &o("http://r.example.com"), &allowed));
    }
}
