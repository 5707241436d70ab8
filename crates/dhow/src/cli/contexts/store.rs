//! Contexts on disk, as Docker's client lays them out: `contexts/meta/ID/meta.json`, and what TLS needs in
//! `contexts/tls/ID/ENDPOINT/FILE`; the id is the SHA-256 of the name.

use crate::cli::config;
use anyhow::{Context as _, Result, bail};
use dhow_types::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The endpoint that is a Docker daemon.
pub const DOCKER: &str = "docker";
const FILE: &str = "meta.json";
/// What a name must be.
const NAMES: &str = "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$";

/// A context.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Named {
    /// Its name.
    #[serde(default, alias = "name", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What is said of it: `Description`, and what others put there.
    #[serde(default, alias = "metadata", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// The daemons it stands for.
    #[serde(default, alias = "endpoints", skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, Value>,
}

/// A file of TLS: endpoint, name, content.
pub type TlsFile = (String, String, Vec<u8>);

/// A daemon as contexts name it.
pub fn endpoint(host: &str) -> Value {
    match host {
        "" => json!({ "SkipTLSVerify": false }),
        host => json!({ "Host": host, "SkipTLSVerify": false }),
    }
}

impl Named {
    /// A context of a daemon.
    pub fn of_host(name: &str, host: &str) -> Self {
        Self {
            name: name.to_owned(),
            metadata: Some(Map::new()),
            endpoints: [(DOCKER.to_owned(), endpoint(host))].into(),
        }
    }

    /// Where its daemon is.
    pub fn host(&self) -> Option<String> {
        self.endpoints.get(DOCKER)?.get("Host")?.as_str().filter(|h| !h.is_empty()).map(str::to_owned)
    }

    /// What it is for.
    pub fn description(&self) -> &str {
        self.metadata.as_ref().and_then(|m| m.get("Description")?.as_str()).unwrap_or_default()
    }

    /// Says what it is for.
    pub fn describe(&mut self, text: &str) {
        self.metadata.get_or_insert_default().insert("Description".to_owned(), text.into());
    }
}

/// That a name is one.
pub fn check_name(name: &str) -> Result<()> {
    let all = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    match name {
        "" => bail!("context name cannot be empty"),
        "default" => bail!("\"default\" is a reserved context name"),
        _ if name.len() < 2 || !name.as_bytes()[0].is_ascii_alphanumeric() || !name.bytes().all(all) => {
            bail!("context name {name:?} is invalid, names are validated against regexp {NAMES:?}")
        }
        _ => Ok(()),
    }
}

/// The store.
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// That of the user.
    pub fn open() -> Self {
        Self { folder: config::directory().join("contexts") }
    }

    /// Where a context's document is.
    pub fn meta_folder(&self, name: &str) -> PathBuf {
        self.folder.join("meta").join(Digest::of(name.as_bytes()).hex())
    }

    /// Where its files for TLS are.
    pub fn tls_folder(&self, name: &str) -> PathBuf {
        self.folder.join("tls").join(Digest::of(name.as_bytes()).hex())
    }

    /// One by its name.
    pub fn get(&self, name: &str) -> Result<Named> {
        let path = self.meta_folder(name).join(FILE);
        read(&path).with_context(|| format!("context {name:?}"))
    }

    /// All.
    pub fn list(&self) -> Result<Vec<Named>> {
        let folder = self.folder.join("meta");
        let mut all = Vec::new();
        for entry in entries(&folder)? {
            match read(&entry.join(FILE)) {
                Ok(one) => all.push(one),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error.context("failed to read metadata")),
            }
        }
        Ok(all)
    }

    /// Writes one, and its files for TLS in the place of those that were there; `None` leaves these. The document is
    /// there whole, or as it was.
    pub fn put(&self, one: &Named, tls: Option<&[TlsFile]>) -> Result<()> {
        let folder = self.tls_folder(&one.name);
        if let Some(files) = tls {
            remove(&folder).context("failed to remove TLS data")?;
            for (end, name, content) in files {
                let place = folder.join(end);
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&place)?;
                let path = place.join(name);
                config::write_whole(&path, content, std::fs::Permissions::from_mode(0o600))?;
            }
        }
        let path = self.meta_folder(&one.name).join(FILE);
        config::write_whole(&path, &serde_json::to_vec(one)?, std::fs::Permissions::from_mode(0o644))
    }

    /// Removes one with all that belongs to it.
    pub fn remove(&self, name: &str) -> Result<()> {
        let what = || format!("failed to remove context {name}");
        remove(&self.meta_folder(name)).context("failed to remove metadata").with_context(what)?;
        remove(&self.tls_folder(name)).context("failed to remove TLS data").with_context(what)
    }

    /// The names of its files for TLS, by endpoint.
    pub fn tls_files(&self, name: &str) -> Result<BTreeMap<String, Vec<String>>> {
        let mut all = BTreeMap::new();
        for end in entries(&self.tls_folder(name))?.into_iter().filter(|p| p.is_dir()) {
            let files = entries(&end)?.into_iter().filter(|p| !p.is_dir()).map(|p| last(&p)).collect();
            all.insert(last(&end), files);
        }
        Ok(all)
    }

    /// The same with their content.
    pub fn tls(&self, name: &str) -> Result<Vec<TlsFile>> {
        let mut all = Vec::new();
        for (end, files) in self.tls_files(name)? {
            for file in files {
                let path = self.tls_folder(name).join(&end).join(&file);
                let content = std::fs::read(&path).with_context(|| format!("open {}", path.display()))?;
                all.push((end.clone(), file, content));
            }
        }
        Ok(all)
    }
}

fn read(path: &Path) -> Result<Named> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(anyhow::Error::new(error).context(format!("context not found: open {}", path.display())));
        }
        Err(error) => return Err(error).context(format!("open {}", path.display())),
    };
    serde_json::from_slice(&text).with_context(|| format!("parsing {}", path.display()))
}

/// Whether an error says that there is no such context.
pub fn is_absent(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound)
}

/// What is in a folder, by name; nothing, if it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = match std::fs::read_dir(folder) {
        Ok(list) => list,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(format!("open {}", folder.display())),
    };
    let mut all = list.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    all.sort();
    Ok(all)
}

fn last(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_dockers() {
        let text = r#"{"Name":"yy","Metadata":{"Description":"Hi"},"Endpoints":{"docker":{"Host":"unix:///x","SkipTLSVerify":false}}}"#;
        let one: Named = serde_json::from_str(text).unwrap();
        assert_eq!((one.host().as_deref(), one.description()), (Some("unix:///x"), "Hi"));
        assert_eq!(serde_json::to_string(&one).unwrap(), text);
        let bare: Named = serde_json::from_str(r#"{"Name":"z","Metadata":null}"#).unwrap();
        assert_eq!((bare.host(), bare.description()), (None, ""));
        assert_eq!(serde_json::to_string(&bare).unwrap(), r#"{"Name":"z"}"#);
        let made = serde_json::to_string(&Named::of_host("d", "")).unwrap();
        assert_eq!(made, r#"{"Name":"d","Metadata":{},"Endpoints":{"docker":{"SkipTLSVerify":false}}}"#);
    }

    #[test]
    fn a_store_keeps_what_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store { folder: dir.path().join("contexts") };
        assert!(store.list().unwrap().is_empty() && is_absent(&store.get("a1").unwrap_err()));
        let one = Named::of_host("a1", "unix:///x");
        let file = ("docker".to_owned(), "ca.pem".to_owned(), b"x".to_vec());
        store.put(&one, Some(std::slice::from_ref(&file))).unwrap();
        assert_eq!((store.get("a1").unwrap(), store.tls("a1").unwrap()), (one.clone(), vec![file.clone()]));
        assert_eq!(store.list().unwrap(), std::slice::from_ref(&one));
        store.put(&one, None).unwrap();
        assert_eq!(store.tls("a1").unwrap(), [file]);
        store.put(&one, Some(&[])).unwrap();
        assert!(store.tls_files("a1").unwrap().is_empty());
        store.remove("a1").unwrap();
        store.remove("a1").unwrap();
        assert!(store.list().unwrap().is_empty());
        // What is malformed is named, and not taken for absent.
        std::fs::create_dir_all(store.meta_folder("b2")).unwrap();
        std::fs::write(store.meta_folder("b2").join(FILE), "{").unwrap();
        assert!(!is_absent(&store.get("b2").unwrap_err()) && store.list().is_err());
    }

    #[test]
    fn names() {
        assert!(check_name("a1").is_ok() && check_name("a.b+c-d_e").is_ok());
        for (name, part) in
            [("", "empty"), ("default", "reserved"), ("a", "invalid"), ("-a", "invalid"), ("a/b", "invalid")]
        {
            assert!(check_name(name).unwrap_err().to_string().contains(part), "{name}");
        }
    }
}
