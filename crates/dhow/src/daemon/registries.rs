//! The keys of the configuration file that say how registries are reached, as a checked client.

use anyhow::{Result, bail};
use dhow_distribution::{Bounds, Registries, Settings};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where certificates and mirrors of registries may stand: ours, Docker's and containerd's.
const CERTS_DIRS: [&str; 3] = ["/etc/dhow/certs.d", "/etc/docker/certs.d", "/etc/containerd/certs.d"];
/// No transfer is tried more often in a row.
const MOST_ATTEMPTS: u32 = 100;
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// What the file says about them.
#[derive(Default)]
pub struct Keys {
    /// `registry-certs-dirs`.
    pub certs_dirs: Option<Vec<PathBuf>>,
    /// `registry-limits`.
    pub limits: Option<Limits>,
}

/// `registry-limits`: how long and how often. Times as Go writes them (`30s`).
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    connect: Option<String>,
    handshake: Option<String>,
    answer: Option<String>,
    stall: Option<String>,
    document: Option<String>,
    attempts: Option<u32>,
    first_wait: Option<String>,
    longest_wait: Option<String>,
    longest_retry_after: Option<String>,
}

impl Limits {
    fn bounds(&self) -> Result<Bounds> {
        let mut bounds = Bounds::default();
        for (name, text, value) in [
            ("connect", &self.connect, &mut bounds.connect),
            ("handshake", &self.handshake, &mut bounds.handshake),
            ("answer", &self.answer, &mut bounds.answer),
            ("stall", &self.stall, &mut bounds.stall),
            ("document", &self.document, &mut bounds.document),
            ("first-wait", &self.first_wait, &mut bounds.first_wait),
            ("longest-wait", &self.longest_wait, &mut bounds.longest_wait),
            ("longest-retry-after", &self.longest_retry_after, &mut bounds.longest_retry_after),
        ] {
            if let Some(text) = text {
                let read = dhow_types::duration::go_nanoseconds(text).and_then(|n| u64::try_from(n).ok());
                match read.map(Duration::from_nanos) {
                    Some(time) if time > Duration::ZERO && time <= LONGEST => *value = time,
                    _ => bail!("registry-limits: {name} {text:?}: want a time as 30s, more than nothing, at most 1h"),
                }
            }
        }
        match self.attempts {
            Some(n) if n == 0 || n > MOST_ATTEMPTS => bail!("registry-limits: attempts {n}: 1 to {MOST_ATTEMPTS}"),
            Some(n) => bounds.attempts = n,
            None => {}
        }
        Ok(bounds)
    }
}

/// The client of registries.
pub fn client(keys: Keys) -> Result<Registries> {
    let certs_dirs = keys.certs_dirs.unwrap_or_else(|| CERTS_DIRS.map(PathBuf::from).to_vec());
    if let Some(dir) = certs_dirs.iter().find(|d| !d.is_absolute()) {
        bail!("registry-certs-dirs {}: must be an absolute path", dir.display());
    }
    let settings = Settings {
        certs_dirs,
        bounds: keys.limits.unwrap_or_default().bounds()?,
        user_agent: format!("dhow/{}", env!("CARGO_PKG_VERSION")),
        ..Default::default()
    };
    Ok(Registries::new(settings, Arc::new(rustls::crypto::aws_lc_rs::default_provider()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_times_and_numbers_within_reason() {
        let read = |text: &str| -> Result<Bounds> { serde_json::from_str::<Limits>(text)?.bounds() };
        let default = read("{}").unwrap();
        assert_eq!((default.attempts, default.stall), (5, Duration::from_secs(30)));
        let all = r#"{"connect": "1s", "handshake": "2s", "answer": "3s", "stall": "4s", "document": "9s", "attempts": 7,
            "first-wait": "1ms", "longest-wait": "5s", "longest-retry-after": "1m"}"#;
        let b = read(all).unwrap();
        let s = Duration::from_secs;
        assert_eq!((b.connect, b.handshake, b.answer, b.stall), (s(1), s(2), s(3), s(4)));
        assert_eq!((b.attempts, b.first_wait, b.longest_wait), (7, Duration::from_millis(1), s(5)));
        assert_eq!((b.longest_retry_after, b.document), (s(60), s(9)));
        for bad in [
            r#"{"stall": "0s"}"#,
            r#"{"stall": "30"}"#,
            r#"{"stall": "2h"}"#,
            r#"{"attempts": 0}"#,
            r#"{"attempts": 101}"#,
            r#"{"patience": "1s"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let keys = Keys { certs_dirs: Some(vec!["certs.d".into()]), ..Keys::default() };
        assert!(client(keys).is_err_and(|e| e.to_string().contains("registry-certs-dirs certs.d")));
    }
}
