//! Who asks, which daemon is meant, and what its settings are: the words it was started with, else its configuration file,
//! else what the next one would use.

use super::super::facts::Caller;
use super::bounded::{LIMIT, within};
use super::{Question, text};
use crate::cli::context::{Context, DEFAULT_SOCKET};
use crate::daemon::settings::{self, DaemonArgs, Settings};
use clap::{CommandFactory as _, FromArgMatches as _};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The configuration file where none is named.
const CONFIG: &str = "/etc/dhow/daemon.json";
/// Root and state where nothing is said.
const ROOT: &str = "/var/lib/dhow";
const STATE: &str = "/run/dhow";
/// Programs that install packages.
const PACKAGERS: [&str; 6] = ["apt-get", "dnf", "yum", "zypper", "apk", "pacman"];

/// Which daemon is meant.
#[derive(Clone, Debug)]
pub struct Host {
    /// `unix:///PATH`, or why there is none.
    pub shown: String,
    /// Its socket, if there is one.
    pub socket: Option<PathBuf>,
    /// Whether it is the one that commands start by themselves.
    pub default: bool,
    /// The name of the context that says so.
    pub context: String,
}

impl Host {
    /// What every command would use.
    pub fn of(context: &Context) -> Self {
        let name = context.name.clone();
        match context.socket() {
            Ok(path) => Self {
                shown: format!("unix://{}", path.display()),
                socket: Some(path.to_owned()),
                default: path == Path::new(DEFAULT_SOCKET),
                context: name,
            },
            Err(error) => Self { shown: error.to_string(), socket: None, default: false, context: name },
        }
    }
}

/// A variable of the environment that is set and not empty.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Looks; `daemon` is the process that serves the socket, and `said` what it says its root is. Where this hangs, defaults
/// stand in.
pub fn look(question: &Question, host: &Host, daemon: Option<u32>, said: Option<PathBuf>) -> Caller {
    let (q, h, root) = (question.clone(), host.clone(), said.clone());
    within(LIMIT, move || Ok(look_long(&q, &h, daemon, root))).unwrap_or_else(|_| Caller {
        uid: rustix::process::geteuid().as_raw(),
        root: question.root.clone().or(said).unwrap_or_else(|| ROOT.into()),
        state: question.state.clone().unwrap_or_else(|| STATE.into()),
        host: host.shown.clone(),
        context: host.context.clone(),
        now: jiff::Timestamp::now().as_second(),
        ..Caller::default()
    })
}

fn look_long(question: &Question, host: &Host, daemon: Option<u32>, said: Option<PathBuf>) -> Caller {
    let words = daemon.and_then(words_of).unwrap_or_default();
    let read = |path: &Path| std::fs::read_to_string(path);
    let (known, config, error) = resolve(question, words, read);
    let uid = rustix::process::geteuid().as_raw();
    let users = text("/etc/passwd").unwrap_or_default();
    let root = question.root.clone().or(said).unwrap_or(known.root);
    Caller {
        uid,
        user: user(&users, uid),
        packager: PACKAGERS.into_iter().find(|p| on_path(p).is_some()).unwrap_or_default().to_owned(),
        systemd: Path::new("/run/systemd/system").is_dir(),
        container: container(),
        root,
        state: known.state,
        config: config.exists().then_some(config),
        config_error: error,
        dns: known.dns,
        bip: known.subnet,
        bridge: known.bridge,
        mtu: known.mtu,
        host: host.shown.clone(),
        context: host.context.clone(),
        now: jiff::Timestamp::now().as_second(),
    }
}

/// Where a program is.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).filter(|d| d.is_absolute()).map(|d| d.join(name)).find(|p| p.is_file())
}

/// What is taken of a daemon's settings.
struct Known {
    root: PathBuf,
    state: PathBuf,
    dns: Vec<String>,
    bridge: Option<String>,
    subnet: Option<String>,
    mtu: Option<u32>,
}

impl From<Settings> for Known {
    fn from(settings: Settings) -> Self {
        let engine = settings.engine;
        let bridge = engine.bridge;
        Self {
            root: engine.root,
            state: engine.state,
            dns: engine.dns.servers,
            bridge: bridge.name,
            subnet: bridge.subnet,
            mtu: bridge.mtu,
        }
    }
}

/// The settings, the configuration file, and what is wrong with it: then words and defaults alone count.
fn resolve(
    question: &Question,
    words: Vec<OsString>,
    read: impl Fn(&Path) -> std::io::Result<String>,
) -> (Known, PathBuf, Option<String>) {
    let mut all = vec![OsString::from("daemon")];
    all.extend(words);
    for (name, value) in [("--root", &question.root), ("--state", &question.state), ("--config-file", &question.config)]
    {
        if let Some(value) = value {
            all.push(name.into());
            all.push(value.into());
        }
    }
    let args = || {
        let matches = DaemonArgs::command().args_override_self(true).try_get_matches_from(&all).ok()?;
        DaemonArgs::from_arg_matches(&matches).ok()
    };
    let parsed = args().unwrap_or_default();
    let config = parsed.config_file.clone().unwrap_or_else(|| CONFIG.into());
    let error = match settings::resolve(parsed, read, |_| None) {
        Ok(settings) => return (settings.into(), config, None),
        Err(error) => format!("{error:#}"),
    };
    let mut plain = args().unwrap_or_default();
    plain.config_file = None;
    let absent = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let known = settings::resolve(plain, absent, |_| None).map(Known::from).unwrap_or_else(|_| Known {
        root: question.root.clone().unwrap_or_else(|| ROOT.into()),
        state: question.state.clone().unwrap_or_else(|| STATE.into()),
        dns: Vec::new(),
        bridge: None,
        subnet: None,
        mtu: None,
    });
    (known, config, Some(error))
}

/// The words behind `daemon` that a process was started with.
fn words_of(pid: u32) -> Option<Vec<OsString>> {
    let line = text(format!("/proc/{pid}/cmdline"))?;
    let mut words = line.split('\0').filter(|w| !w.is_empty());
    let program = words.next()?;
    if !program.ends_with("dockerd") && words.next() != Some("daemon") {
        return None;
    }
    Some(words.map(OsString::from).collect())
}

fn user(passwd: &str, uid: u32) -> String {
    let uid = uid.to_string();
    let of = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2) == Some(&uid.as_str())).then(|| fields[0].to_owned())
    };
    passwd.lines().find_map(of).unwrap_or(uid.clone())
}

/// Which kind of container this is, if it is one.
fn container() -> Option<String> {
    if Path::new("/.dockerenv").exists() {
        return Some("docker".to_owned());
    }
    if Path::new("/run/.containerenv").exists() {
        return Some("podman".to_owned());
    }
    let first = text("/proc/1/environ").unwrap_or_default();
    let told = first.split('\0').find_map(|v| v.strip_prefix("container=")).map(str::to_owned);
    told.or_else(|| text("/run/systemd/container").map(|t| t.trim().to_owned())).filter(|k| !k.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_was_started_with_counts() {
        let file = |text: &'static str| move |_: &Path| Ok(text.to_owned());
        let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let (s, config, error) = resolve(
            &Question::default(),
            words("--background -H unix:///x --root /r --state /s --config-file /c"),
            file(r#"{"dns": ["10.0.0.1"], "root": "/not"}"#),
        );
        assert_eq!((s.root.to_str(), s.state.to_str()), (Some("/r"), Some("/s")));
        assert_eq!((config.to_str(), error, s.dns), (Some("/c"), None, vec!["10.0.0.1".to_owned()]));

        let question = Question { root: Some("/mine".into()), ..Question::default() };
        let (s, _, error) = resolve(&question, words("--root /r"), file(r#"{"rooot": 1}"#));
        assert_eq!(s.root.to_str(), Some("/mine"));
        assert!(error.is_some_and(|e| e.contains("rooot")));
    }

    #[test]
    fn names_of_users() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\n";
        assert_eq!((user(passwd, 1000), user(passwd, 7)), ("ann".to_owned(), "7".to_owned()));
    }
}
