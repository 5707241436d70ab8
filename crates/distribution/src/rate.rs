//! Limits on pulls, in words: what Docker Hub's headers say beside an answer of 429. Pure.

use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// How much of a limit is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Pulls in all.
    pub limit: u64,
    /// Pulls that are left.
    pub remaining: u64,
    /// In which time.
    pub window: Option<Duration>,
}

/// What the headers of any answer say about a limit.
pub(crate) fn state(headers: &HeaderMap) -> Option<RateLimit> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let (limit, window) = amount(text("ratelimit-limit")?)?;
    let (remaining, _) = amount(text("ratelimit-remaining")?)?;
    Some(RateLimit { limit, remaining, window })
}

/// What the headers of a refusal say about a limit; nothing if it is none, or none that is told.
pub(crate) fn explained(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    if status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let (count, window) = amount(text("ratelimit-limit")?)?;
    let mut out = match window {
        Some(window) => format!("{count} pulls are allowed in {}", dhow_types::duration::go_text(window)),
        None => format!("{count} pulls are allowed"),
    };
    if let Some((left, _)) = text("ratelimit-remaining").and_then(amount) {
        out += &format!(", {left} are left");
    }
    // Who is not logged in is counted by address.
    match text("docker-ratelimit-source") {
        Some(source) if source.parse::<std::net::IpAddr>().is_ok() => {
            out += &format!(", counted for the address {source}: 'docker login' raises the limit");
        }
        Some(_) => out += ", counted for this account",
        None => out += ": 'docker login' may raise the limit",
    }
    Some(out)
}

/// `100;w=21600`: a number, and the seconds it is for.
fn amount(text: &str) -> Option<(u64, Option<Duration>)> {
    let mut parts = text.split(';').map(str::trim);
    let count = parts.next()?.parse().ok()?;
    let window = parts.find_map(|p| p.strip_prefix("w=")).and_then(|s| s.parse().ok()).map(Duration::from_secs);
    Some((count, window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hubs_headers() {
        let of = |status, list: &[(&'static str, &'static str)]| {
            let headers = list.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
            explained(StatusCode::from_u16(status).unwrap(), &headers)
        };
        let limit = ("ratelimit-limit", "100;w=21600");
        let left = ("ratelimit-remaining", "0;w=21600");
        assert_eq!(
            of(429, &[limit, left, ("docker-ratelimit-source", "203.0.113.5")]).unwrap(),
            "100 pulls are allowed in 6h0m0s, 0 are left, counted for the address 203.0.113.5: 'docker login' raises the limit"
        );
        assert_eq!(
            of(429, &[limit, ("docker-ratelimit-source", "8d5a1c7e-0000-0000-0000-000000000000")]).unwrap(),
            "100 pulls are allowed in 6h0m0s, counted for this account"
        );
        assert_eq!(
            of(429, &[("ratelimit-limit", "7")]).unwrap(),
            "7 pulls are allowed: 'docker login' may raise the limit"
        );
        for (status, list) in
            [(429, &[][..]), (429, &[("ratelimit-limit", "many")]), (429, &[("ratelimit-limit", "")]), (403, &[limit])]
        {
            assert_eq!(of(status, list), None);
        }
    }
}
