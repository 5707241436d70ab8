//! The daemon's flags and its configuration file as one checked set of settings.
//!
//! A flag wins over the file, the file over the default. A key that is not known is refused by name.

use super::registries;
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use dhow_engine::config::LogConfig;
use dhow_engine::settings::{Bridge, DiskBudget, Dns, Settings as EngineSettings, ShimSpawn, StopUnheeded};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Read when it exists and no other is named.
const DEFAULT_FILE: &str = "/etc/dhow/daemon.json";
/// Where systemd's journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The engine behind the socket
#[derive(Parser, Debug, Default)]
#[command(override_usage = "dhow daemon [OPTIONS]")]
pub struct DaemonArgs {
    /// Socket to listen on (unix:///PATH)
    #[arg(short = 'H', long, value_name = "unix:///PATH")]
    host: Vec<String>,
    /// Directory for images, containers and volumes (/var/lib/dhow)
    #[arg(long, visible_alias = "data-root", value_name = "DIR")]
    root: Option<PathBuf>,
    /// Directory for what lives until the next boot (/run/dhow)
    #[arg(long, visible_alias = "exec-root", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Configuration file (/etc/dhow/daemon.json)
    #[arg(long, value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Group under which containers' groups are made
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
    /// The most that the root may use, in bytes (50GB) or of its file system (70%); what nobody uses goes first
    #[arg(long, value_name = "SIZE|PERCENT")]
    disk_budget: Option<String>,
    /// After a stop signal that PID 1 neither handles nor blocks: kill at once, or wait as Docker does (kill)
    #[arg(long, value_name = "kill|wait")]
    stop_unheeded: Option<String>,
    /// Log driver of containers that name none (json-file)
    #[arg(long, value_name = "NAME")]
    log_driver: Option<String>,
    /// Option of that driver (max-size=10m)
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
    /// Name of the default bridge (dhow0)
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
    /// Address range of the default bridge (172.17.0.0/16, or the first free one)
    #[arg(long, value_name = "CIDR")]
    bip: Option<String>,
    #[command(flatten)]
    registries: registries::Flags,
    /// File for the process id
    #[arg(short, long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Say more in the log
    #[arg(short = 'D', long)]
    debug: bool,
    /// Started by a command: a session of its own, and `ready` on standard output
    #[arg(long, hide = true)]
    pub background: bool,
}

/// The configuration file.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    hosts: Option<Vec<String>>,
    #[serde(alias = "data-root")]
    root: Option<PathBuf>,
    #[serde(alias = "exec-root")]
    state: Option<PathBuf>,
    pidfile: Option<PathBuf>,
    debug: Option<bool>,
    hardened: Option<bool>,
    keep_blobs: Option<bool>,
    disk_budget: Option<Amount>,
    cgroup_parent: Option<String>,
    bridge: Option<String>,
    bip: Option<String>,
    mtu: Option<u32>,
    icc: Option<bool>,
    log_driver: Option<String>,
    log_opts: Option<BTreeMap<String, String>>,
    journal_socket: Option<PathBuf>,
    dns: Option<Vec<String>>,
    dns_search: Option<Vec<String>>,
    dns_opts: Option<Vec<String>>,
    netns_pool: Option<usize>,
    stop_unheeded: Option<String>,
    registry_certs_dirs: Option<Vec<PathBuf>>,
    registry_limits: Option<registries::Limits>,
    registry_mirrors: Option<registries::Mirrors>,
    insecure_registries: Option<Vec<String>>,
    auth_realms: Option<BTreeMap<String, Vec<String>>>,
    proxies: Option<registries::ProxyKeys>,
    max_concurrent_downloads: Option<i64>,
    max_concurrent_uploads: Option<i64>,
    max_download_attempts: Option<i64>,
}

/// A size as text, or as a plain number of bytes.
#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum Amount {
    Bytes(u64),
    Text(String),
}

/// `50GB`, `70%` or bytes. A size that says nothing, or more than all, is refused.
fn disk_budget(amount: &Amount) -> Result<DiskBudget> {
    let bad =
        |text: &str| format!("disk-budget {text:?}: want a size (50GB), bytes, or a share of the disk (1% to 100%)");
    match amount {
        Amount::Bytes(0) => bail!(bad("0")),
        Amount::Bytes(bytes) => Ok(DiskBudget::Bytes(*bytes)),
        Amount::Text(text) => match text.trim().strip_suffix('%') {
            Some(number) => match number.trim().parse::<u8>() {
                Ok(percent) if (1..=100).contains(&percent) => Ok(DiskBudget::Percent(percent)),
                _ => bail!(bad(text)),
            },
            None => match crate::cli::units::bytes(text).ok().and_then(|n| u64::try_from(n).ok()) {
                Some(bytes) if bytes > 0 => Ok(DiskBudget::Bytes(bytes)),
                _ => bail!(bad(text)),
            },
        },
    }
}

/// `kill` or `wait`.
fn stop_unheeded(word: &str) -> Result<StopUnheeded> {
    match word {
        "kill" => Ok(StopUnheeded::Kill),
        "wait" => Ok(StopUnheeded::Wait),
        _ => bail!("stop-unheeded {word:?}: want kill or wait"),
    }
}

/// Everything the daemon starts from.
pub struct Settings {
    /// Sockets.
    pub hosts: Vec<String>,
    /// The engine's part.
    pub engine: EngineSettings,
    /// Where the process id is written.
    pub pid_file: PathBuf,
    /// Say more.
    pub debug: bool,
}

/// Prepared network namespaces: enough for a burst from one client, little enough to cost nothing idle.
const NETNS_POOL: usize = 4;
/// The pool may not be larger.
const NETNS_POOL_MAX: usize = 256;

/// Puts flags, file, environment (proxies only) and defaults together. `read` gives the text of a file.
pub fn resolve(
    args: DaemonArgs,
    read: impl Fn(&Path) -> std::io::Result<String>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Settings> {
    let file = match (&args.config_file, read(Path::new(DEFAULT_FILE))) {
        (Some(path), _) => parse(path, &read(path).with_context(|| format!("open {}", path.display()))?)?,
        (None, Ok(text)) => parse(Path::new(DEFAULT_FILE), &text)?,
        (None, Err(e)) if e.kind() == std::io::ErrorKind::NotFound => File::default(),
        (None, Err(e)) => return Err(e).context(DEFAULT_FILE),
    };
    let state = args.state.or(file.state).unwrap_or_else(|| "/run/dhow".into());
    let root = args.root.or(file.root).unwrap_or_else(|| "/var/lib/dhow".into());
    for (name, path) in [("--root", &root), ("--state", &state)] {
        if !path.is_absolute() {
            bail!("{name} {}: must be an absolute path", path.display());
        }
    }
    let hosts = match (args.host.is_empty(), file.hosts) {
        (false, _) => args.host,
        (true, Some(hosts)) if !hosts.is_empty() => hosts,
        _ => vec![format!("unix://{}", crate::cli::context::DEFAULT_SOCKET)],
    };
    let netns_pool = file.netns_pool.unwrap_or(NETNS_POOL);
    if netns_pool > NETNS_POOL_MAX {
        bail!("netns-pool {netns_pool}: at most {NETNS_POOL_MAX}");
    }
    let mut log_opts = file.log_opts.unwrap_or_default();
    log_opts.extend(crate::flags::env::pairs("--log-opt", &args.log_opt)?);
    let keys = registries::Keys {
        mirrors: file.registry_mirrors,
        insecure: file.insecure_registries,
        realms: file.auth_realms,
        proxies: file.proxies,
        downloads: file.max_concurrent_downloads,
        uploads: file.max_concurrent_uploads,
        attempts: file.max_download_attempts,
        certs_dirs: file.registry_certs_dirs,
        limits: file.registry_limits,
    };
    let access = registries::access(args.registries, keys, env)?;
    let engine = EngineSettings {
        root,
        state: state.clone(),
        keep_blobs: file.keep_blobs.unwrap_or(false),
        disk_budget: args.disk_budget.map(Amount::Text).or(file.disk_budget).as_ref().map(disk_budget).transpose()?,
        bridge: Bridge {
            name: args.bridge.or(file.bridge),
            subnet: args.bip.or(file.bip),
            mtu: file.mtu,
            icc: file.icc.unwrap_or(true),
        },
        cgroup_parent: args.cgroup_parent.or(file.cgroup_parent),
        hardened: file.hardened.unwrap_or(false),
        log: LogConfig { driver: args.log_driver.or(file.log_driver).unwrap_or_default(), options: log_opts },
        journal_socket: file.journal_socket.unwrap_or_else(|| JOURNAL.into()),
        dns: Dns {
            servers: file.dns.unwrap_or_default(),
            search: file.dns_search.unwrap_or_default(),
            options: file.dns_opts.unwrap_or_default(),
        },
        stop_unheeded: args
            .stop_unheeded
            .or(file.stop_unheeded)
            .map_or(Ok(StopUnheeded::Kill), |w| stop_unheeded(&w))?,
        registries: access.registries,
        max_downloads: access.downloads,
        max_uploads: access.uploads,
        netns_pool,
        shim_spawn: ShimSpawn { exe: "/proc/self/exe".into(), args: vec!["shim".into(), "zygote".into()] },
        hello: dhow_sys::guest::HELLO,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(Settings {
        hosts,
        pid_file: args.pidfile.or(file.pidfile).unwrap_or_else(|| state.join("dhow.pid")),
        engine,
        debug: args.debug || file.debug.unwrap_or(false),
    })
}

fn parse(path: &Path, text: &str) -> Result<File> {
    serde_json::from_str(text)
        .map_err(|e| anyhow::anyhow!(without_value(&e.to_string())))
        .with_context(|| format!("{}: unable to configure the daemon with it", path.display()))
}

/// The words of an error without the text that stands in the wrong place: a proxy's address has a password in it.
fn without_value(words: &str) -> String {
    match (words.find("string \""), words.rfind("\", expected")) {
        (Some(from), Some(to)) if from < to => format!("{}string{}", &words[..from], &words[to + 1..]),
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(file: Option<&str>, args: DaemonArgs) -> Result<Settings> {
        resolve(args, |_| file.map(str::to_owned).ok_or_else(|| std::io::ErrorKind::NotFound.into()), |_| None)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let s = with(None, DaemonArgs::default()).unwrap();
        assert_eq!(
            (s.engine.root.to_str(), s.hosts.as_slice()),
            (Some("/var/lib/dhow"), &["unix:///run/dhow.sock".to_owned()][..])
        );
        assert_eq!(s.pid_file.to_str(), Some("/run/dhow/dhow.pid"));
        let file = r#"{"data-root": "/a", "state": "/b", "keep-blobs": true, "hosts": ["unix:///s"]}"#;
        let args = DaemonArgs { root: Some("/c".into()), ..DaemonArgs::default() };
        let s = with(Some(file), args).unwrap();
        assert_eq!((s.engine.root.to_str(), s.engine.state.to_str()), (Some("/c"), Some("/b")));
        assert!(s.engine.keep_blobs && s.hosts == ["unix:///s"]);
    }

    #[test]
    fn a_disk_budget_is_a_size_or_a_share() {
        let get = |value: &str| {
            let file = format!(r#"{{"disk-budget": {value}}}"#);
            with(Some(&file), DaemonArgs::default()).map(|s| s.engine.disk_budget)
        };
        for (value, want) in [
            (r#""70%""#, DiskBudget::Percent(70)),
            (r#""50GB""#, DiskBudget::Bytes(50 << 30)),
            ("1000", DiskBudget::Bytes(1000)),
            (r#""1000""#, DiskBudget::Bytes(1000)),
        ] {
            assert_eq!(get(value).unwrap(), Some(want), "{value}");
        }
        for bad in [r#""0%""#, r#""101%""#, r#""-5""#, r#""much""#, "0", r#""0""#, r#""""#] {
            assert!(format!("{:#}", get(bad).unwrap_err()).contains("disk-budget"), "{bad}");
        }
        assert_eq!(with(None, DaemonArgs::default()).unwrap().engine.disk_budget, None);
        let args = DaemonArgs { disk_budget: Some("1%".into()), ..DaemonArgs::default() };
        let s = with(Some(r#"{"disk-budget": "70%"}"#), args).unwrap();
        assert_eq!(s.engine.disk_budget, Some(DiskBudget::Percent(1)));
    }

    #[test]
    fn what_follows_an_unheeded_stop() {
        let get = |file: Option<&str>, flag: Option<&str>| {
            let args = DaemonArgs { stop_unheeded: flag.map(str::to_owned), ..DaemonArgs::default() };
            with(file, args).map(|s| s.engine.stop_unheeded)
        };
        let wait = Some(r#"{"stop-unheeded": "wait"}"#);
        assert_eq!(get(None, None).unwrap(), StopUnheeded::Kill);
        assert_eq!(get(wait, None).unwrap(), StopUnheeded::Wait);
        assert_eq!(get(wait, Some("kill")).unwrap(), StopUnheeded::Kill);
        assert!(format!("{:#}", get(None, Some("hope")).unwrap_err()).contains("want kill or wait"));
    }

    #[test]
    fn unknown_keys_and_relative_paths_are_refused_by_name() {
        let text = |r: Result<Settings>| format!("{:#}", r.err().unwrap());
        assert!(text(with(Some(r#"{"what": 1}"#), DaemonArgs::default())).contains("unknown field `what`"));
        assert!(text(with(Some(r#"{"root": "x"}"#), DaemonArgs::default())).contains("--root x"));
        let e = text(with(Some(r#"{"proxies": "http://u:secret\"@p"}"#), DaemonArgs::default()));
        assert!(e.contains("string") && e.contains("line 1") && !e.contains("secret"), "{e}");
        assert!(text(with(Some("{"), DaemonArgs::default())).contains("/etc/dhow/daemon.json"));
    }
}
