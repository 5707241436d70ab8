//! What the user has set down in Docker's `config.json`: formats of lists, keys. Read where it is needed; a file that is
//! not there or not readable says nothing, one that is malformed is named.

use super::output;
use serde::Deserialize;
use std::path::PathBuf;

/// The parts of the file that mean something here.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfigFile {
    ps_format: String,
    images_format: String,
    #[serde(rename = "detachKeys")]
    detach_keys: String,
}

/// A setting.
#[derive(Clone, Copy, Debug)]
pub enum Setting {
    /// `psFormat`
    Ps,
    /// `imagesFormat`
    Images,
    /// `detachKeys`
    DetachKeys,
}

impl ConfigFile {
    fn setting(&self, setting: Setting) -> Option<&str> {
        let text = match setting {
            Setting::Ps => &self.ps_format,
            Setting::Images => &self.images_format,
            Setting::DetachKeys => &self.detach_keys,
        };
        Some(text.as_str()).filter(|t| !t.is_empty())
    }
}

/// The directory of the file: `DOCKER_CONFIG`, else `~/.docker`.
fn directory() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")))
}

/// What was given on the command line, else what the file says.
pub fn or_configured(given: Option<&str>, setting: Setting) -> Option<String> {
    if let Some(given) = given.filter(|g| !g.is_empty()) {
        return Some(given.to_owned());
    }
    let path = directory()?.join("config.json");
    let text = std::fs::read_to_string(&path).ok()?;
    match serde_json::from_str::<ConfigFile>(&text) {
        Ok(file) => file.setting(setting).map(str::to_owned),
        Err(error) => {
            output::note(format!("WARNING: Error loading config file: {}: {error}", path.display()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_file() {
        let file: ConfigFile = serde_json::from_str(
            r#"{"auths":{"x":{}},"psFormat":"{{.ID}}","imagesFormat":"","detachKeys":"ctrl-x","HttpHeaders":null}"#,
        )
        .unwrap();
        assert_eq!(file.setting(Setting::Ps), Some("{{.ID}}"));
        assert_eq!(file.setting(Setting::Images), None);
        assert_eq!(file.setting(Setting::DetachKeys), Some("ctrl-x"));
    }
}
