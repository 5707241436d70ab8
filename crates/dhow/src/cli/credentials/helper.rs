//! Programs that keep credentials (`docker-credential-NAME`): a word as the argument, what it is about on standard input,
//! the answer on standard output.

use super::login::Login;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const PREFIX: &str = "docker-credential-";
/// What a helper says of what it does not have.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user of a secret that is no password but an identity token.
const TOKEN_USER: &str = "<token>";
/// More than this is no answer of a helper.
const MAX_ANSWER: u64 = 1024 * 1024;

/// A helper by the name that settings know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper(pub String);

#[derive(Deserialize, Serialize)]
struct Document {
    #[serde(rename = "ServerURL", default)]
    server: String,
    #[serde(rename = "Username", default)]
    user: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

impl Helper {
    /// What it keeps for a registry.
    pub fn get(&self, server: &str) -> Result<Login> {
        let (out, failed) = self.ask("get", server.as_bytes()).context("error getting credentials")?;
        match failed {
            Some(_) if out.trim() == NOT_FOUND => return Ok(Login::default()),
            Some(failed) => bail!("error getting credentials - err: {failed}, out: `{}`", out.trim()),
            None => {}
        }
        // What it said may be a secret.
        let Ok(found) = serde_json::from_str::<Document>(&out) else {
            bail!("error getting credentials: {PREFIX}{} gave no document as helpers do", self.0)
        };
        Ok(match found.user.as_str() {
            TOKEN_USER => Login { identity_token: found.secret, server: server.to_owned(), ..Login::default() },
            _ => Login { user: found.user, password: found.secret, server: server.to_owned(), ..Login::default() },
        })
    }

    /// Gives it a login to keep.
    pub fn store(&self, login: &Login) -> Result<()> {
        let (user, secret) = match login.identity_token.as_str() {
            "" => (login.user.clone(), login.password.clone()),
            token => (TOKEN_USER.to_owned(), token.to_owned()),
        };
        let document = serde_json::to_vec(&Document { server: login.server.clone(), user, secret })?;
        let (out, failed) = self.ask("store", &document).context("error storing credentials")?;
        match failed {
            Some(failed) => bail!("error storing credentials - err: {failed}, out: `{}`", out.trim()),
            None => Ok(()),
        }
    }

    /// Makes it forget a registry.
    pub fn erase(&self, server: &str) -> Result<()> {
        let (out, failed) = self.ask("erase", server.as_bytes()).context("error erasing credentials")?;
        match failed {
            Some(failed) => bail!("error erasing credentials - err: {failed}, out: `{}`", out.trim()),
            None => Ok(()),
        }
    }

    /// What the program answered, and how it failed if it did. Its standard error is the caller's.
    fn ask(&self, action: &str, input: &[u8]) -> Result<(String, Option<String>)> {
        let program = format!("{PREFIX}{}", self.0);
        if self.0.contains('/') {
            bail!("{program:?} is no name of a program: config.json names helpers without a path");
        }
        let mut child = match Command::new(&program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
        {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!(
                    "exec: {program:?}: executable file not found in $PATH: install it, or take it out of config.json"
                )
            }
            Err(error) => return Err(error).with_context(|| format!("exec: {program:?}")),
        };
        if let Some(mut to) = child.stdin.take() {
            // One that does not read says by its exit code how that went.
            let _ = to.write_all(input);
        }
        let mut out = Vec::new();
        if let Some(from) = child.stdout.take() {
            from.take(MAX_ANSWER).read_to_end(&mut out).with_context(|| format!("read from {program}"))?;
        }
        let status = child.wait().with_context(|| format!("wait for {program}"))?;
        let failed = (!status.success()).then(|| match status.code() {
            Some(code) => format!("exit status {code}"),
            None => "ended by a signal".to_owned(),
        });
        Ok((String::from_utf8_lossy(&out).into_owned(), failed))
    }

    /// The helper that is usual on Linux, if it is there: for settings that say nothing of credentials.
    pub fn usual() -> Option<Self> {
        let name = if on_path("pass").is_some() { "pass" } else { "secretservice" };
        on_path(&format!("{PREFIX}{name}")).map(|_| Self(name.to_owned()))
    }
}

/// Where a program is.
fn on_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let runs =
        |path: &PathBuf| std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(runs)
}
