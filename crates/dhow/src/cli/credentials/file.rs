//! The part `auths` of config.json: name and password for each registry, hardly hidden (base64). Other entries and other
//! settings stay as they are, byte for byte.

use super::login::{Login, decode, encode};
use super::names::host;
use crate::cli::config;
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::path::Path;

/// An entry.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auths {
    auths: Option<config::Fields>,
}

/// What the file has for a registry: under this name, or under an address whose host it is (as files of old have it).
pub fn get(path: &Path, name: &str) -> Result<Login> {
    let Some(text) = config::text(path)? else { return Ok(Login::default()) };
    find(&text, name).with_context(|| format!("{}: the credentials of {name}", path.display()))
}

/// Whether the file has any entry.
pub fn any(path: &Path) -> bool {
    let text = config::text(path).ok().flatten().unwrap_or_default();
    serde_json::from_str::<Auths>(&text).ok().and_then(|all| all.auths).is_some_and(|auths| !auths.0.is_empty())
}

fn find(text: &str, name: &str) -> Result<Login> {
    let auths = read(text)?;
    let exact = auths.0.iter().find(|(key, _)| key == name);
    let Some((key, entry)) = exact.or_else(|| auths.0.iter().find(|(key, _)| host(key) == name)) else {
        return Ok(Login::default());
    };
    // What is wrong with it may be part of a secret.
    let Ok(entry) = serde_json::from_str::<Entry>(entry.get()) else { bail!("malformed") };
    let (user, password) = match entry.auth.as_str() {
        "" => (entry.username, entry.password),
        auth => decode(auth).context("`auth` is not base64 of NAME:PASSWORD")?,
    };
    Ok(Login {
        user,
        password,
        server: key.clone(),
        identity_token: entry.identitytoken,
        registry_token: entry.registrytoken,
    })
}

fn read(text: &str) -> Result<config::Fields> {
    if text.trim().is_empty() {
        return Ok(config::Fields::default());
    }
    match serde_json::from_str::<Auths>(text) {
        Ok(all) => Ok(all.auths.unwrap_or_default()),
        Err(_) => bail!("not JSON as settings are"),
    }
}

/// Keeps a login under its server's name, and `store` as the setting `credsStore` if it is given. Whether anything
/// changed.
pub fn put(path: &Path, login: &Login, store: Option<&str>) -> Result<bool> {
    config::change(path, |before| with(before, login, store))
}

/// Forgets what stands under a name. Whether anything did.
pub fn remove(path: &Path, name: &str) -> Result<bool> {
    config::change(path, |before| {
        let mut auths = read(before)?;
        let there = auths.0.len();
        auths.0.retain(|(key, _)| key != name);
        if auths.0.len() == there {
            return Ok(before.to_owned());
        }
        config::with_field(before, "auths", Some(RawValue::from_string(auths.text(1)?)?))
    })
}

fn with(before: &str, login: &Login, store: Option<&str>) -> Result<String> {
    let mut auths = read(before)?;
    let entry = RawValue::from_string(entry(login)?)?;
    match auths.0.iter_mut().find(|(key, _)| *key == login.server) {
        // The same, perhaps in another spelling.
        Some((_, old)) if same(old, &entry) => return Ok(before.to_owned()),
        Some((_, old)) => *old = entry,
        None => auths.0.push((login.server.clone(), entry)),
    }
    let text = config::with_field(before, "auths", Some(RawValue::from_string(auths.text(1)?)?))?;
    match store {
        Some(store) => {
            config::with_field(&text, "credsStore", Some(RawValue::from_string(serde_json::to_string(store)?)?))
        }
        None => Ok(text),
    }
}

fn same(one: &RawValue, other: &RawValue) -> bool {
    let value = |raw: &RawValue| serde_json::from_str::<serde_json::Value>(raw.get()).ok();
    value(one) == value(other)
}

/// An entry as Docker writes it.
fn entry(login: &Login) -> Result<String> {
    let fields = [
        ("auth", encode(&login.user, &login.password)),
        ("identitytoken", login.identity_token.clone()),
        ("registrytoken", login.registry_token.clone()),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let all: Result<Vec<_>> = fields
        .map(|(name, value)| Ok((name.to_owned(), RawValue::from_string(serde_json::to_string(&value)?)?)))
        .collect();
    config::Fields(all?).text(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(server: &str, user: &str, password: &str) -> Login {
        Login { server: server.into(), user: user.into(), password: password.into(), ..Login::default() }
    }

    #[test]
    fn entries_are_found_by_name_and_by_host() {
        let text = r#"{"auths":{"https://old.example.com/v1/":{"auth":"bWU6YQ=="},"a:1":{"username":"u","password":"p"},
            "t":{"identitytoken":"tok"},"bad":{"auth":"bWU="},"worse":{"auth":7}}}"#;
        for (name, want) in [
            ("old.example.com", Some(("me", "a", ""))),
            ("https://old.example.com/v1/", Some(("me", "a", ""))),
            ("a:1", Some(("u", "p", ""))),
            ("t", Some(("", "", "tok"))),
            ("none", Some(("", "", ""))),
            ("bad", None),
            ("worse", None),
        ] {
            let got = find(text, name).ok();
            let got = got.as_ref().map(|l| (l.user.as_str(), l.password.as_str(), l.identity_token.as_str()));
            assert_eq!(got, want, "{name}");
        }
        assert!(find("", "a").unwrap().is_empty() && find("{\"auths\":null}", "a").unwrap().is_empty());
        assert!(!format!("{:#}", find("{\"auths\": {\"a\": sec", "a").unwrap_err()).contains("sec"));
    }

    #[test]
    fn an_entry_comes_and_goes_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.json");
        assert!(put(&path, &login("a:1", "me", "a"), None).unwrap());
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\n\t\"auths\": {\n\t\t\"a:1\": {\n\t\t\t\"auth\": \"bWU6YQ==\"\n\t\t}\n\t}\n}"
        );
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(!put(&path, &login("a:1", "me", "a"), None).unwrap());

        let before =
            "{\n  \"z\": {\"b\":1,  \"a\":1.50},\n  \"auths\": {\"x\": {\"auth\":\"eDp5\", \"mine\": 1}},\n  \"y\": 2}";
        std::fs::write(&path, before).unwrap();
        assert!(put(&path, &login("a:1", "me", "a"), Some("pass")).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\n\t\"z\": {\"b\":1,  \"a\":1.50},\n\t\"auths\": {\n\t\t\"x\": {\"auth\":\"eDp5\", \"mine\": 1},\n\t\t\"a:1\": {\n\t\t\t\"auth\": \"bWU6YQ==\"\n\t\t}\n\t},\n\t\"y\": 2,\n\t\"credsStore\": \"pass\"\n}"
        );
        assert!(remove(&path, "a:1").unwrap() && !remove(&path, "a:1").unwrap() && any(&path));
        assert!(remove(&path, "x").unwrap() && !any(&path));
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"auths\": {}"));

        // What is no settings file is not written over.
        std::fs::write(&path, "{nonsense").unwrap();
        assert!(put(&path, &login("b", "me", "a"), None).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{nonsense");
    }

    #[test]
    fn links_stay_and_those_that_lead_nowhere_yet_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (link, real) = (dir.path().join("config.json"), dir.path().join("there/real.json"));
        std::fs::create_dir(dir.path().join("there")).unwrap();
        std::os::unix::fs::symlink("there/real.json", &link).unwrap();
        for server in ["a", "b"] {
            assert!(put(&link, &login(server, "me", "a"), None).unwrap());
            assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
            assert!(std::fs::read_to_string(&real).unwrap().contains(&format!("\"{server}\"")));
        }
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::thread::scope(|scope| {
            for n in 0..8 {
                let path = &path;
                scope.spawn(move || put(path, &login(&format!("r{n}"), "me", "a"), None).unwrap());
            }
        });
        for n in 0..8 {
            assert!(!get(&path, &format!("r{n}")).unwrap().is_empty(), "r{n}");
        }
    }
}
