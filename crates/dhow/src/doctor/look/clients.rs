//! Docker's client, its configuration and plugins, and what serves the usual sockets.

use super::super::facts::{Answer, Clients, Other};
use super::bounded::said;
use super::caller::{on_path, variable};
use super::{daemon, socket, text};
use serde_json::Value;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where plugins of Docker's client are, after the user's own.
const PLUGINS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];
/// More plugins, or contexts, than this are not looked at.
const MAX_ENTRIES: usize = 64;

/// Looks; `own` and `serving` are the socket that dhow's commands use and the process that serves it.
pub fn look(own: Option<PathBuf>, serving: Option<u32>) -> Clients {
    let docker = on_path("docker");
    let words = docker.as_ref().and_then(|path| {
        let mut command = Command::new(path);
        command.arg("--version");
        said(command).ok()
    });
    let version = words.as_deref().map(version_in).unwrap_or_default();
    let config_dir = crate::cli::config::directory();
    let (config, config_error) = config(config_dir);
    let by_variable = variable("DOCKER_CONTEXT");
    let context_by_variable = by_variable.is_some();
    let context =
        by_variable.or_else(|| config["currentContext"].as_str().filter(|c| !c.is_empty()).map(str::to_owned));
    let other = |path: &str| other(Path::new(path), own.as_deref(), serving);
    Clients {
        is_podman: words.as_deref().is_some_and(|w| w.to_lowercase().contains("podman")),
        docker: docker.map(|path| (path, version)),
        plugins: plugins(config_dir),
        docker_host: variable("DOCKER_HOST"),
        dhow_host: variable("DHOW_HOST"),
        context: context.map(|name| {
            let host = endpoint(config_dir, &name);
            (name, host)
        }),
        context_by_variable,
        config_error,
        docker_socket: other("/var/run/docker.sock"),
        podman_socket: other("/run/podman/podman.sock"),
    }
}

/// `Docker version 28.2.2, build x` is 28.2.2.
fn version_in(words: &str) -> String {
    let word = words.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
    word.unwrap_or("of an unknown version").trim_end_matches(',').to_owned()
}

fn config(dir: &Path) -> (Value, Option<String>) {
    let path = dir.join("config.json");
    let Some(text) = text(&path) else { return (Value::Null, None) };
    match serde_json::from_str(&text) {
        Ok(value) => (value, None),
        Err(error) => (Value::Null, Some(format!("{}: {error}", path.display()))),
    }
}

/// The host of a context.
fn endpoint(dir: &Path, name: &str) -> Option<String> {
    let metas = std::fs::read_dir(dir.join("contexts/meta")).ok()?.flatten().take(MAX_ENTRIES);
    metas.filter_map(|e| serde_json::from_str::<Value>(&text(e.path().join("meta.json"))?).ok()).find_map(|meta| {
        let host = meta["Endpoints"]["docker"]["Host"].as_str()?;
        (meta["Name"].as_str() == Some(name)).then(|| host.to_owned())
    })
}

/// Names and versions. A plugin tells its version when it is run: only one that nobody else could have put there is.
fn plugins(config: &Path) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for dir in [config.join("cli-plugins")].into_iter().chain(PLUGINS.map(PathBuf::from)) {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten().take(MAX_ENTRIES) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(name) = name.strip_prefix("docker-") else { continue };
            if found.iter().any(|(n, _)| n == name) {
                continue;
            }
            let version = match trusted(&dir) && trusted(&entry.path()) {
                true => plugin_version(&entry.path()),
                false => None,
            };
            found.push((name.to_owned(), version.unwrap_or_else(|| "of an unknown version".to_owned())));
        }
    }
    found.sort();
    found
}

fn plugin_version(path: &Path) -> Option<String> {
    let mut command = Command::new(path);
    command.arg("docker-cli-plugin-metadata");
    let told: Value = serde_json::from_str(&said(command).ok()?).ok()?;
    Some(told["Version"].as_str()?.trim_start_matches('v').to_owned())
}

/// Whether only root, or this user, can have written it.
fn trusted(path: &Path) -> bool {
    let me = rustix::process::geteuid().as_raw();
    std::fs::metadata(path).is_ok_and(|m| (m.uid() == 0 || m.uid() == me) && m.mode() & 0o022 == 0)
}

/// Who serves a well-known socket.
fn other(path: &Path, own: Option<&Path>, serving: Option<u32>) -> Other {
    let id = |p: &Path| std::fs::metadata(p).ok().map(|m| (m.dev(), m.ino()));
    if own.is_some_and(|own| id(own).is_some() && id(own) == id(path)) {
        return Other::Same;
    }
    match socket::connect(path) {
        (Answer::Well, Some(pid)) if Some(pid) == serving => Other::Same,
        (Answer::Well, Some(pid)) => Other::By(daemon::peer(pid).name, pid),
        (Answer::Well, None) => Other::By("a process of another namespace".to_owned(), 0),
        (Answer::Dead, _) => Other::Dead,
        (Answer::Forbidden, _) => Other::Forbidden,
        (Answer::Silent, _) => Other::Silent,
        _ => Other::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_words() {
        assert_eq!(version_in("Docker version 28.2.2, build e6534b4\n"), "28.2.2");
        assert_eq!(version_in("podman version 5.0.0\n"), "5.0.0");
        assert_eq!(version_in("what?"), "of an unknown version");
    }

    #[test]
    fn contexts_and_plugins_of_a_user() {
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().join("contexts/meta/abc");
        std::fs::create_dir_all(&meta).unwrap();
        let text = r#"{"Name":"far","Endpoints":{"docker":{"Host":"ssh://far"}}}"#;
        std::fs::write(meta.join("meta.json"), text).unwrap();
        assert_eq!(endpoint(dir.path(), "far").as_deref(), Some("ssh://far"));
        assert_eq!(endpoint(dir.path(), "near"), None);
        std::fs::write(dir.path().join("config.json"), "{").unwrap();
        assert!(config(dir.path()).1.is_some_and(|e| e.contains("config.json")));

        // A plugin that anybody can write is named, and not run.
        let plugins_dir = dir.path().join("cli-plugins");
        std::fs::create_dir(&plugins_dir).unwrap();
        let witness = dir.path().join("was-run");
        std::fs::write(plugins_dir.join("docker-x"), format!("#!/bin/sh\ntouch {}\n", witness.display())).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(plugins_dir.join("docker-x"), mode).unwrap();
        let found = plugins(dir.path());
        assert!(found.contains(&("x".to_owned(), "of an unknown version".to_owned())), "{found:?}");
        assert!(!witness.exists());
    }
}
