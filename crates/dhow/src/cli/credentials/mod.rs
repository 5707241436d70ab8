//! Who the user is at registries: found where Docker's client looks (`DOCKER_AUTH_CONFIG`, helper programs, config.json),
//! and kept and forgotten there. Asks no registry and no daemon; secrets leave it only in a [`Login`].

mod environment;
mod file;
mod helper;
mod login;
pub mod names;

pub use login::Login;

use super::config;
use super::output;
use anyhow::{Context as _, Result};
use helper::Helper;
use std::path::PathBuf;

/// Where the credentials of one registry are.
pub struct Credentials {
    file: PathBuf,
    name: String,
    helper: Option<Helper>,
    /// The helper is not in the settings, but the one that is usual here: it is to be written down.
    found: bool,
    environment: Option<Login>,
}

/// How a login was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// By a helper program, or it was there already.
    Safe,
    /// In config.json, to be read by all who can read the file.
    InFile,
}

impl Credentials {
    /// Those of a registry, by the name that [`names`] gives it.
    pub fn of(name: &str) -> Self {
        let file = config::directory().join("config.json");
        let set = config::file().helper(name).map(|name| Helper(name.to_owned()));
        // As Docker: what is usual counts only where nothing is set down at all.
        let nothing = set.is_none() && !config::file().has_helpers() && !file::any(&file);
        let usual = if nothing { Helper::usual() } else { None };
        Self {
            file,
            name: name.to_owned(),
            found: usual.is_some(),
            helper: set.or(usual),
            environment: of_environment().into_iter().find(|login| login.server == name),
        }
    }

    /// What there is; empty if there is nothing.
    pub fn get(&self) -> Result<Login> {
        if let Some(login) = &self.environment {
            return Ok(login.clone());
        }
        match &self.helper {
            Some(helper) => helper.get(&self.name),
            None => file::get(&self.file, &self.name),
        }
    }

    /// Keeps a login.
    pub fn store(&self, login: &Login) -> Result<Kept> {
        if self.environment.as_ref() == Some(login) {
            return Ok(Kept::Safe);
        }
        let Some(helper) = &self.helper else {
            let changed = file::put(&self.file, login, None)?;
            return Ok(if changed && !login.password.is_empty() { Kept::InFile } else { Kept::Safe });
        };
        helper.store(login)?;
        // The file says that there is a login; no secret.
        let known = Login { server: login.server.clone(), ..Login::default() };
        file::put(&self.file, &known, self.found.then_some(helper.0.as_str()))?;
        Ok(Kept::Safe)
    }

    /// Forgets it.
    pub fn erase(&self) -> Result<()> {
        if let Some(helper) = &self.helper {
            helper.erase(&self.name)?;
        }
        file::remove(&self.file, &self.name).map(drop)
    }

    /// The file, for people.
    pub fn file(&self) -> &std::path::Path {
        &self.file
    }
}

/// Those of the environment; what is wrong with them is said once.
fn of_environment() -> Vec<Login> {
    let Some(text) = environment::text() else { return Vec::new() };
    environment::read(&text).unwrap_or_else(|wrong| {
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| {
            output::note(format!("Failed to create credential store from {}:  {wrong}", environment::VARIABLE));
        });
        Vec::new()
    })
}

/// Says that what `login` and `logout` do has no effect on what the environment gives.
pub fn note_environment() {
    if environment::text().is_some() {
        output::note(format!(
            "WARNING: {0} is set and takes precedence.\nUnset {0} to restore the CLI auth behaviour.\n",
            environment::VARIABLE
        ));
    }
}

/// The value of `X-Registry-Auth` for the registry with this name. What can't be read is said, and then there is none: the
/// image may be everybody's.
pub fn header(name: &str) -> Option<String> {
    match Credentials::of(name).get() {
        Ok(login) => login.header(),
        Err(error) => {
            let error = output::system_words(&format!("{error:#}"));
            output::note(format!("WARNING: going on without credentials for {name}: {error}"));
            None
        }
    }
}

/// As [`header`]; what can't be read is an error.
pub fn header_or_error(name: &str) -> Result<Option<String>> {
    Ok(Credentials::of(name).get().with_context(|| format!("credentials for {name}"))?.header())
}
