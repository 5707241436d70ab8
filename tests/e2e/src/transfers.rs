//! Pulls and pushes over the API, as any client asks for them, and what was told of them.

use crate::daemon::{Daemon, PATIENCE};
use crate::wire;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;

/// What came of one.
#[derive(Debug)]
pub struct Transfer {
    /// The status of the answer.
    pub status: u16,
    /// The lines of its body.
    pub lines: Vec<Value>,
    /// Whether the answer came to its end.
    pub whole: bool,
}

impl Transfer {
    /// What it failed of, if it did.
    pub fn error(&self) -> Option<&str> {
        let said = |line: &Value, key: &str| line[key].as_str().map(str::len);
        let line = self.lines.iter().find(|l| said(l, "error").is_some())?;
        line["error"].as_str()
    }

    /// It must have succeeded.
    pub fn ok(self) -> Result<Self> {
        let refused = if self.status == 200 { None } else { Some(self.refusal()) };
        match refused.or(self.error()) {
            Some(error) => anyhow::bail!("{}: {error}", self.status),
            None => {
                ensure!(self.whole, "the answer broke off: {:?}", self.lines);
                Ok(self)
            }
        }
    }

    /// It must have failed with these words, in its status' message or in a line.
    pub fn fails(self, words: &[&str]) -> Result<String> {
        let text = self.error().unwrap_or_else(|| self.refusal()).to_owned();
        ensure!(!text.is_empty(), "it did not fail: {:?}", self.lines);
        for word in words {
            ensure!(text.contains(word), "no {word:?} in {text:?}");
        }
        Ok(text)
    }

    fn refusal(&self) -> &str {
        if self.status == 200 { "" } else { self.lines.first().and_then(|l| l["message"].as_str()).unwrap_or("?") }
    }

    /// The short ids of the layers of which this was said.
    pub fn said(&self, status: &str) -> Vec<String> {
        let told = self.lines.iter().filter(|l| l["status"] == status);
        told.filter_map(|l| Some(l["id"].as_str()?.to_owned())).collect()
    }

    /// Whether a line about the whole begins like this.
    pub fn told(&self, status: &str) -> bool {
        self.lines.iter().any(|l| l["status"].as_str().is_some_and(|s| s.starts_with(status)))
    }
}

/// `X-Registry-Auth` of a user.
pub fn shown((user, password): (&str, &str)) -> String {
    let text = json!({"username": user, "password": password}).to_string();
    base64::engine::general_purpose::URL_SAFE.encode(text)
}

/// Asks the daemon, and waits for the end of its answer.
pub fn ask(d: &Daemon, line: &str, auth: Option<&str>, body: &str) -> Result<Transfer> {
    let stream = UnixStream::connect(d.dir.path().join("dhow.sock"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut fields = vec![("content-type", "application/json")];
    fields.extend(auth.map(|a| ("x-registry-auth", a)));
    let told = wire::exchange(stream, "dhow", line, &fields, body.as_bytes())?;
    let text = String::from_utf8(told.body)?;
    // A line that broke off with the answer says nothing.
    let end = if told.whole { text.len() } else { text.rfind('\n').map_or(0, |at| at + 1) };
    let lines = text[..end].lines().filter(|l| !l.trim().is_empty());
    let lines: Result<_> = lines.map(|l| serde_json::from_str(l).with_context(|| l.to_owned())).collect();
    Ok(Transfer { status: told.head.status(), lines: lines?, whole: told.whole })
}

/// Pulls `NAME:TAG` or `NAME@DIGEST`.
pub fn pull(d: &Daemon, name: &str) -> Result<Transfer> {
    pull_as(d, name, None)
}

/// The same as somebody.
pub fn pull_as(d: &Daemon, name: &str, auth: Option<&str>) -> Result<Transfer> {
    ask(d, &format!("POST /v1.44/images/create?fromImage={}", escaped(name)), auth, "")
}

/// Pushes `NAME:TAG` as somebody.
pub fn push_as(d: &Daemon, name: &str, auth: Option<&str>) -> Result<Transfer> {
    let (name, tag) = name.rsplit_once(':').context("a push wants a tag")?;
    // Docker's daemon wants the field, with or without a password in it.
    let nobody = base64::engine::general_purpose::URL_SAFE.encode("{}");
    ask(d, &format!("POST /v1.44/images/{name}/push?tag={tag}"), Some(auth.unwrap_or(&nobody)), "")
}

/// The same as nobody.
pub fn push(d: &Daemon, name: &str) -> Result<Transfer> {
    push_as(d, name, None)
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A").replace('/', "%2F").replace('@', "%40")
}
