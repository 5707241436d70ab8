//! What the user has set down in Docker's `config.json`: formats of lists, keys, headers, the context. A file that is not
//! there says nothing; one that can't be read or is malformed is named once, and says nothing.

use super::file_out::FileOut;
use super::output;
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The parts of the file that mean something here.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfigFile {
    ps_format: Option<String>,
    images_format: Option<String>,
    stats_format: Option<String>,
    detach_keys: Option<String>,
    prune_filters: Option<Vec<String>>,
    current_context: Option<String>,
    #[serde(rename = "HttpHeaders")]
    http_headers: Option<BTreeMap<String, String>>,
    proxies: Option<BTreeMap<String, Proxies>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

/// Proxies that containers are told of.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
struct Proxies {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
    ftp_proxy: Option<String>,
    all_proxy: Option<String>,
}

/// A setting.
#[derive(Clone, Copy, Debug)]
pub enum Setting {
    /// `psFormat`
    Ps,
    /// `imagesFormat`
    Images,
    /// `statsFormat`
    Stats,
    /// `detachKeys`
    DetachKeys,
    /// `currentContext`
    Context,
}

static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

/// Takes another folder (`--config`) than that of the environment. To be said before anything is read.
pub fn use_directory(directory: PathBuf) {
    let _ = DIRECTORY.set(directory);
}

/// The folder of the file, and of contexts: `--config`, else `DOCKER_CONFIG`, else `~/.docker`.
pub fn directory() -> &'static Path {
    DIRECTORY.get_or_init(|| {
        let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        variable("DOCKER_CONFIG")
            .or_else(|| Some(variable("HOME")?.join(".docker")))
            // Who has no home has no settings.
            .unwrap_or_else(|| PathBuf::from("/root/.docker"))
    })
}

/// The file.
pub fn file() -> &'static ConfigFile {
    static FILE: OnceLock<ConfigFile> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = directory().join("config.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return ConfigFile::default(),
            Err(error) => {
                let error = output::system_words(&error.to_string());
                output::note(format!("WARNING: Error loading config file: open {}: {error}", path.display()));
                return ConfigFile::default();
            }
        };
        serde_json::from_str(&text).unwrap_or_else(|error| {
            output::note(format!("WARNING: Error parsing config file ({}): {error}", path.display()));
            ConfigFile::default()
        })
    })
}

impl ConfigFile {
    /// A setting, if it is set.
    pub fn setting(&self, setting: Setting) -> Option<&str> {
        let text = match setting {
            Setting::Ps => &self.ps_format,
            Setting::Images => &self.images_format,
            Setting::Stats => &self.stats_format,
            Setting::DetachKeys => &self.detach_keys,
            Setting::Context => &self.current_context,
        };
        text.as_deref().filter(|t| !t.is_empty())
    }

    /// Header fields that every request to the daemon has.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.http_headers.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Filters that every prune has.
    pub fn prune_filters(&self) -> &[String] {
        self.prune_filters.as_deref().unwrap_or_default()
    }

    /// The name of the program that keeps the credentials of a registry, if one does: its own, else that of all.
    pub fn helper(&self, registry: &str) -> Option<&str> {
        let own = self.cred_helpers.as_ref().and_then(|all| all.get(registry));
        own.or(self.creds_store.as_ref()).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Whether it names any such program.
    pub fn has_helpers(&self) -> bool {
        self.creds_store.as_ref().is_some_and(|s| !s.is_empty())
            || self.cred_helpers.as_ref().is_some_and(|h| !h.is_empty())
    }

    /// Variables that new containers have, unless they are given others: what is set for the daemon at `host`, else what
    /// is set for all.
    pub fn proxies(&self, host: &str) -> Vec<(&'static str, &str)> {
        let all = self.proxies.iter().flatten();
        let named = |name: &str| all.clone().find(|(known, _)| known.as_str() == name).map(|(_, proxies)| proxies);
        let Some(proxies) = named(host).or_else(|| named("default")) else { return Vec::new() };
        [
            (["HTTP_PROXY", "http_proxy"], &proxies.http_proxy),
            (["HTTPS_PROXY", "https_proxy"], &proxies.https_proxy),
            (["NO_PROXY", "no_proxy"], &proxies.no_proxy),
            (["FTP_PROXY", "ftp_proxy"], &proxies.ftp_proxy),
            (["ALL_PROXY", "all_proxy"], &proxies.all_proxy),
        ]
        .into_iter()
        .filter_map(|(names, value)| Some((names, value.as_deref().filter(|v| !v.is_empty())?)))
        .flat_map(|(names, value)| names.map(|name| (name, value)))
        .collect()
    }
}

/// What was given on the command line, else what the file says.
pub fn or_configured(given: Option<&str>, setting: Setting) -> Option<String> {
    given.filter(|g| !g.is_empty()).or_else(|| file().setting(setting)).map(str::to_owned)
}

/// Writes `currentContext` down, or takes it away; everything else in the file stays as it was. All or nothing.
pub fn set_context(name: Option<&str>) -> Result<()> {
    change(&directory().join("config.json"), |before| with_context(before, name)).map(drop)
}

/// The text of the file, if it is there.
pub fn text(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => bail!("open {}: {error}", path.display()),
    }
}

/// Changes the text of the file; whether that made a difference. All or nothing; who changes it at the same time waits, so
/// that nobody's change is lost.
pub fn change(path: &Path, with: impl FnOnce(&str) -> Result<String>) -> Result<bool> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut private = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(private.recursive(true), 0o700);
    private.create(folder).with_context(|| format!("mkdir {}", folder.display()))?;
    // The folder stands for the file, which is another one after each change. Freed when it is closed.
    let lock = std::fs::File::open(folder).with_context(|| format!("open {}", folder.display()))?;
    lock.lock().with_context(|| format!("lock {}", folder.display()))?;
    let before = text(path)?.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| "{}".to_owned());
    let after = with(&before).with_context(|| format!("{} is no settings file: mend or remove it", path.display()))?;
    if after == before {
        return Ok(false);
    }
    let mode = match std::fs::metadata(path) {
        Ok(there) => there.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o600),
    };
    write_whole(&behind_links(path), after.as_bytes(), mode)?;
    Ok(true)
}

/// So many links one behind the other are followed, as by the kernel.
const MOST_LINKS: usize = 40;

/// Where a link leads, also if there is nothing yet.
fn behind_links(path: &Path) -> PathBuf {
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = std::fs::read_link(&place) else { break };
        place = place.parent().unwrap_or(Path::new("/")).join(target);
    }
    place
}

/// A file that is there with all of its content, or as it was before; also after a power cut.
pub fn write_whole(path: &Path, content: &[u8], permissions: std::fs::Permissions) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("mkdir {}", folder.display()))?;
    }
    let mut file = FileOut::create(path, None)?;
    let what = || format!("write {}", path.display());
    file.write_all(content).with_context(what)?;
    file.keep(permissions).with_context(what)?;
    file.finish()
}

/// The text of the file with this context.
fn with_context(before: &str, name: Option<&str>) -> Result<String> {
    let mut fields: Fields = serde_json::from_str(before)?;
    fields.0.retain(|(field, _)| field != "currentContext");
    if let Some(name) = name {
        let value = RawValue::from_string(serde_json::to_string(name)?)?;
        fields.0.push(("currentContext".to_owned(), value));
    }
    fields.text(0)
}

/// The text of the file with this value for a setting, at its place if it has one.
pub fn with_field(before: &str, name: &str, value: Option<Box<RawValue>>) -> Result<String> {
    let mut fields: Fields = serde_json::from_str(before)?;
    let at = fields.0.iter().position(|(field, _)| field == name);
    match (at, value) {
        (Some(at), Some(value)) => fields.0[at].1 = value,
        (Some(at), None) => drop(fields.0.remove(at)),
        (None, Some(value)) => fields.0.push((name.to_owned(), value)),
        (None, None) => {}
    }
    fields.text(0)
}

/// Fields in the order and the spelling in which they were.
#[derive(Default)]
pub struct Fields(pub Vec<(String, Box<RawValue>)>);

impl Fields {
    /// As text, so deep inside of another object.
    pub fn text(&self, depth: usize) -> Result<String> {
        if self.0.is_empty() {
            return Ok("{}".to_owned());
        }
        let tabs = "\t".repeat(depth);
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|(field, value)| Ok(format!("{tabs}\t{}: {}", serde_json::to_string(field)?, value.get())))
            .collect::<Result<_>>()?;
        Ok(format!("{{\n{}\n{tabs}}}", lines.join(",\n")))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_file() {
        let file: ConfigFile = serde_json::from_str(
            r#"{"auths":{"x":{}},"psFormat":"{{.ID}}","imagesFormat":"","detachKeys":"ctrl-x","HttpHeaders":null,
                "statsFormat":null,"pruneFilters":["label=a"],"currentContext":"desk"}"#,
        )
        .unwrap();
        assert_eq!(file.setting(Setting::Ps), Some("{{.ID}}"));
        assert_eq!(file.setting(Setting::Images), None);
        assert_eq!(file.setting(Setting::Stats), None);
        assert_eq!(file.setting(Setting::DetachKeys), Some("ctrl-x"));
        assert_eq!(file.setting(Setting::Context), Some("desk"));
        assert_eq!((file.headers().count(), file.prune_filters()), (0, &["label=a".to_owned()][..]));
    }

    /// `sudo dhow context use` must not take the file, with the credentials in it, from the user whose it is.
    #[test]
    fn a_file_stays_its_owners() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, "{}").unwrap();
        let owner = if rustix::process::geteuid().is_root() { 12_345 } else { rustix::process::geteuid().as_raw() };
        std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
        write_whole(&path, b"{\"a\":1}", std::fs::Permissions::from_mode(0o600)).unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777, meta.len()), (owner, 0o600, 7));
    }

    #[test]
    fn proxies_of_one_daemon_go_before_those_of_all() {
        let file: ConfigFile = serde_json::from_str(
            r#"{"proxies":{"default":{"httpProxy":"a","noProxy":""},"unix:///x":{"allProxy":"b"}},"HttpHeaders":{"X":"1"}}"#,
        )
        .unwrap();
        assert_eq!(file.proxies("unix:///y"), [("HTTP_PROXY", "a"), ("http_proxy", "a")]);
        assert_eq!(file.proxies("unix:///x"), [("ALL_PROXY", "b"), ("all_proxy", "b")]);
        assert_eq!(ConfigFile::default().proxies("unix:///x"), []);
        assert_eq!(file.headers().collect::<Vec<_>>(), [("X", "1")]);
    }

    #[test]
    fn a_context_is_written_down_and_the_rest_stays() {
        let before = "{\n  \"z\": {\"b\":1,  \"a\":1.50},\n  \"currentContext\": \"old\", \"auths\": {}}";
        let with = with_context(before, Some("new")).unwrap();
        assert_eq!(with, "{\n\t\"z\": {\"b\":1,  \"a\":1.50},\n\t\"auths\": {},\n\t\"currentContext\": \"new\"\n}");
        assert_eq!(with_context(&with, None).unwrap(), with.replace(",\n\t\"currentContext\": \"new\"", ""));
        assert_eq!(with_context("{}", None).unwrap(), "{}");
        for malformed in ["", "[]", "{", "{\"a\":}"] {
            assert!(with_context(malformed, None).is_err(), "{malformed}");
        }
    }
}
