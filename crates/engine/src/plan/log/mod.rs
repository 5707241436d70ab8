//! Log drivers and their options: which there are, what each takes, how a container's options and the daemon's become
//! one, in Docker's words. What the options mean for a shim is made of this by `container::log`.

pub mod attrs;
pub mod syslog;
pub mod tag;
mod value;

use crate::config::LogConfig;
use dhow_types::{Error, Result};
use std::collections::BTreeMap;

/// The drivers, as `info` lists them.
pub const DRIVERS: [&str; 5] = ["journald", "json-file", "local", "none", "syslog"];
/// What Docker knows besides.
const ELSEWHERE: [&str; 6] = ["awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "splunk"];

/// Options that several drivers take.
pub(super) const METADATA: [&str; 5] = ["env", "env-regex", "labels", "labels-regex", "tag"];
const FILES: [&str; 3] = ["compress", "max-file", "max-size"];
const SYSLOG: [&str; 3] = ["syslog-address", "syslog-facility", "syslog-format"];
const TLS: [&str; 4] = ["syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify"];
/// Options of the readable copy begin so.
const CACHE: &str = "cache-";

/// The most files of one log.
const MAX_FILES: i64 = 1000;
/// Bytes that wait with `mode=non-blocking`, unless told.
const RING: u64 = 1_000_000;
/// The driver `local`, and the readable copy of others, unless told.
const LOCAL: Files = Files { max_size: Some(20 << 20), max_files: 5, compress: true };

type Options = BTreeMap<String, String>;

/// Files on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// Bytes of one file; `None` never turns over.
    pub max_size: Option<u64>,
    /// Files kept, the current one included.
    pub max_files: u32,
    /// Older files are compressed.
    pub compress: bool,
}

/// What a driver does with output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    None,
    /// Docker's JSON files.
    JsonFile(Files),
    /// Files of our own.
    Local(Files),
    /// Lines go to a receiver.
    Send {
        /// Who gets them.
        to: To,
        /// Bytes that may wait for it before lines are dropped; `None`: the program waits.
        ring: Option<u64>,
        /// The copy that can be read here.
        copy: Option<Files>,
    },
}

/// A receiver of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// systemd's journal.
    Journal,
    /// A syslog daemon.
    Syslog(syslog::Syslog),
}

/// The driver and options of a container: what it asked for, and the daemon's for what it left open. As in Docker,
/// options of the daemon count only for its driver, those of the readable copy always.
pub fn merge(asked: &LogConfig, defaults: &LogConfig) -> LogConfig {
    let or_default = |driver: &str| if driver.is_empty() { "json-file".to_owned() } else { driver.to_owned() };
    let default = or_default(&defaults.driver);
    let driver = if asked.driver.is_empty() { default.clone() } else { asked.driver.clone() };
    let mut options = asked.options.clone();
    for (name, value) in &defaults.options {
        if driver == default || name.starts_with(CACHE) {
            options.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    LogConfig { driver, options }
}

/// Whether what a container said can be read here.
pub fn readable(config: &LogConfig) -> bool {
    match plan(config) {
        Ok(Plan::None | Plan::Send { copy: None, .. }) => false,
        // Of a driver that an older version knew, at most nothing is found.
        _ => true,
    }
}

/// Checks a driver and its options, and says what is to be done.
pub fn plan(config: &LogConfig) -> Result<Plan> {
    let options = &config.options;
    if config.driver == "none" {
        // Nothing is kept, so that whatever is asked of it is true.
        return Ok(Plan::None);
    }
    let ring = ring(options)?;
    let cached = cached(options)?;
    match config.driver.as_str() {
        "" | "json-file" => {
            known(options, &[&METADATA, &FILES], "json-file log driver")?;
            Ok(Plan::JsonFile(json_file(options)?))
        }
        "local" => {
            known(options, &[&METADATA, &FILES], "log driver local")?;
            Ok(Plan::Local(local(options, "")?))
        }
        "journald" => {
            known(options, &[&METADATA], "journald log driver")?;
            Ok(Plan::Send { to: To::Journal, ring, copy: cached })
        }
        "syslog" => {
            known(options, &[&METADATA, &SYSLOG, &TLS], "syslog log driver")?;
            let given = |name: &str| options.get(name).map_or("", String::as_str);
            let to = syslog::parse(given("syslog-address"), given("syslog-facility"), given("syslog-format"))?;
            if let Some(option) = TLS.iter().find(|name| options.contains_key(**name)) {
                return Err(syslog::no_tls(option));
            }
            Ok(Plan::Send { to: To::Syslog(to), ring, copy: cached })
        }
        other if ELSEWHERE.contains(&other) => Err(Error::not_implemented(format!(
            "log driver {other} is not built: use one of {}, or send by syslog to a relay that speaks to it",
            DRIVERS.join(", ")
        ))),
        other => Err(Error::invalid(format!("logger: no log driver named '{other}' is registered"))),
    }
}

/// The most that may wait, for `mode=non-blocking`.
fn ring(options: &Options) -> Result<Option<u64>> {
    let mode = options.get("mode").map_or("", String::as_str);
    let non_blocking = match mode {
        "" | "blocking" => false,
        "non-blocking" => true,
        other => return Err(Error::invalid(format!("logger: logging mode not supported: {other}"))),
    };
    let Some(size) = options.get("max-buffer-size") else { return Ok(non_blocking.then_some(RING)) };
    if !non_blocking {
        let text = "logger: max-buffer-size option is only supported with 'mode=non-blocking'";
        return Err(Error::invalid(text));
    }
    let bytes =
        value::size(size, 1024).map_err(|e| Error::invalid(format!("error parsing option max-buffer-size: {e}")))?;
    Ok(Some(bytes))
}

/// The readable copy. Its options are known to every driver, as in Docker.
fn cached(options: &Options) -> Result<Option<Files>> {
    let disabled = match options.get("cache-disabled").map_or("", String::as_str) {
        "" => false,
        text => value::truth(text)
            .map_err(|_| Error::invalid(format!("invalid value for option cache-disabled: {text}")))?,
    };
    let files = local(options, CACHE)?;
    Ok((!disabled).then_some(files))
}

/// Refuses what is not in `lists`, nor common to all drivers.
fn known(options: &Options, lists: &[&[&str]], driver: &str) -> Result<()> {
    let common = |name: &str| match name.strip_prefix(CACHE) {
        Some(rest) => rest == "disabled" || METADATA.contains(&rest) || FILES.contains(&rest),
        None => matches!(name, "mode" | "max-buffer-size"),
    };
    match options.keys().find(|name| !common(name) && !lists.iter().any(|list| list.contains(&name.as_str()))) {
        Some(name) => Err(Error::invalid(format!("unknown log opt '{name}' for {driver}"))),
        None => Ok(()),
    }
}

/// What Docker says when a container starts is said when it is made: the start could only fail.
fn initialize(why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("failed to initialize logging driver: {why}"))
}

/// Docker's words do not say which option is meant.
fn named(why: String, option: &str) -> Error {
    initialize(format!("{why} (log option {option})"))
}

fn json_file(options: &Options) -> Result<Files> {
    let mut files = Files { max_size: None, max_files: 1, compress: false };
    if let Some(text) = options.get("max-size").filter(|text| *text != "-1") {
        let bytes = value::size(text, 1000).map_err(|e| named(e, "max-size"))?;
        if bytes == 0 {
            return Err(initialize("max-size must be a positive number"));
        }
        files.max_size = Some(bytes);
    }
    if let Some(text) = options.get("max-file") {
        let count = value::number(text).map_err(|e| named(e, "max-file"))?;
        if count < 1 {
            return Err(initialize("max-file cannot be less than 1"));
        }
        files.max_files = bounded(count)?;
    }
    if let Some(text) = options.get("compress") {
        files.compress = value::truth(text).map_err(|e| named(e, "compress"))?;
        if files.compress && (files.max_files == 1 || files.max_size.is_none()) {
            let text = "compress cannot be true when max-file is less than 2 or max-size is not set";
            return Err(initialize(text));
        }
    }
    Ok(files)
}

fn local(options: &Options, prefix: &str) -> Result<Files> {
    let given = |name: &str| options.get(&format!("{prefix}{name}"));
    let mut files = LOCAL;
    if let Some(text) = given("max-size") {
        let bytes = value::size(text, 1000)
            .map_err(|e| initialize(format!("invalid value for {prefix}max-size: {text}: {e}")))?;
        // As in Docker, none at all is no bound.
        files.max_size = (bytes > 0).then_some(bytes);
    }
    if let Some(text) = given("max-file") {
        let count =
            value::number(text).map_err(|e| initialize(format!("invalid value for {prefix}max-file: {text}: {e}")))?;
        if count < 0 {
            return Err(initialize("max-file must not be negative"));
        }
        files.max_files = bounded(count.max(1))?;
    }
    if let Some(text) = given("compress") {
        files.compress =
            value::truth(text).map_err(|e| initialize(format!("invalid boolean value for {prefix}compress: {e}")))?;
    }
    if files.compress && files.max_files <= 1 {
        return Err(initialize("compression cannot be enabled when max file count is 1"));
    }
    Ok(files)
}

fn bounded(count: i64) -> Result<u32> {
    if count > MAX_FILES {
        return Err(initialize(format!("max-file {count}: at most {MAX_FILES}")));
    }
    Ok(count as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::ErrorKind;

    fn config(driver: &str, options: &[(&str, &str)]) -> LogConfig {
        LogConfig { driver: driver.into(), options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect() }
    }

    #[test]
    fn what_each_driver_is_told_to_do() {
        let get = |driver: &str, options: &[(&str, &str)]| plan(&config(driver, options)).unwrap();
        let json = |max_size, max_files, compress| Plan::JsonFile(Files { max_size, max_files, compress });
        assert_eq!(get("", &[]), json(None, 1, false));
        assert_eq!(get("json-file", &[("max-size", "10m"), ("max-file", "3")]), json(Some(10_000_000), 3, false));
        assert_eq!(get("json-file", &[("max-size", "-1"), ("max-file", "3")]), json(None, 3, false));
        assert_eq!(
            get("json-file", &[("max-size", "1k"), ("max-file", "2"), ("compress", "f"), ("mode", "non-blocking")]),
            json(Some(1000), 2, false)
        );
        assert_eq!(
            get("json-file", &[("max-size", "1m"), ("max-file", "2"), ("compress", "true")]),
            json(Some(1_000_000), 2, true)
        );
        assert_eq!(get("json-file", &[("tag", "x"), ("labels", "a"), ("cache-max-size", "5m")]), json(None, 1, false));
        assert_eq!(get("local", &[]), Plan::Local(LOCAL));
        assert_eq!(
            get("local", &[("max-size", "1m"), ("max-file", "1"), ("compress", "false")]),
            Plan::Local(Files { max_size: Some(1_000_000), max_files: 1, compress: false })
        );
        assert_eq!(get("journald", &[]), Plan::Send { to: To::Journal, ring: None, copy: Some(LOCAL) });
        assert_eq!(
            get("journald", &[("mode", "non-blocking"), ("cache-disabled", "true")]),
            Plan::Send { to: To::Journal, ring: Some(RING), copy: None }
        );
        let Plan::Send { ring, copy, .. } = get(
            "syslog",
            &[("mode", "non-blocking"), ("max-buffer-size", "4m"), ("cache-max-file", "2"), ("cache-disabled", "0")],
        ) else {
            panic!("syslog sends")
        };
        assert_eq!((ring, copy), (Some(4 << 20), Some(Files { max_files: 2, ..LOCAL })));
        assert_eq!(get("none", &[("whatever", "x")]), Plan::None);
    }

    #[test]
    fn what_is_refused_and_how() {
        for (driver, options, want) in [
            ("json-file", &[("nope", "x")][..], "unknown log opt 'nope' for json-file log driver"),
            ("local", &[("nope", "x")], "unknown log opt 'nope' for log driver local"),
            ("journald", &[("max-size", "1m")], "unknown log opt 'max-size' for journald log driver"),
            ("syslog", &[("max-size", "1m")], "unknown log opt 'max-size' for syslog log driver"),
            ("json-file", &[("cache-nope", "x")], "unknown log opt 'cache-nope' for json-file log driver"),
            (
                "json-file",
                &[("max-size", "0")],
                "failed to initialize logging driver: max-size must be a positive number",
            ),
            (
                "json-file",
                &[("max-size", "x")],
                "failed to initialize logging driver: invalid size: 'x' (log option max-size)",
            ),
            ("json-file", &[("max-file", "0")], "failed to initialize logging driver: max-file cannot be less than 1"),
            (
                "json-file",
                &[("max-file", "x")],
                "failed to initialize logging driver: strconv.Atoi: parsing \"x\": invalid syntax (log option max-file)",
            ),
            (
                "json-file",
                &[("compress", "true"), ("max-size", "1m")],
                "failed to initialize logging driver: compress cannot be true when max-file is less than 2 or max-size \
                 is not set",
            ),
            (
                "local",
                &[("max-file", "1")],
                "failed to initialize logging driver: compression cannot be enabled when max file count is 1",
            ),
            (
                "local",
                &[("max-size", "x")],
                "failed to initialize logging driver: invalid value for max-size: x: invalid size: 'x'",
            ),
            ("local", &[("max-file", "-1")], "failed to initialize logging driver: max-file must not be negative"),
            ("json-file", &[("mode", "fast")], "logger: logging mode not supported: fast"),
            (
                "json-file",
                &[("max-buffer-size", "1m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                "syslog",
                &[("mode", "non-blocking"), ("max-buffer-size", "x")],
                "error parsing option max-buffer-size: invalid size: 'x'",
            ),
            ("journald", &[("cache-disabled", "perhaps")], "invalid value for option cache-disabled: perhaps"),
            ("nowhere", &[], "logger: no log driver named 'nowhere' is registered"),
            ("json-file", &[("max-file", "1001")], "failed to initialize logging driver: max-file 1001: at most 1000"),
        ] {
            let error = plan(&config(driver, options)).unwrap_err();
            assert_eq!((error.text(), error.kind()), (want, ErrorKind::InvalidParameter), "{driver} {options:?}");
        }
        for (driver, options) in [("splunk", &[][..]), ("syslog", &[("syslog-tls-cert", "/x")][..])] {
            let error = plan(&config(driver, options)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotImplemented, "{error}");
        }
    }

    #[test]
    fn the_daemons_options_are_for_its_driver_only_but_those_of_the_copy_for_all() {
        let json = config("", &[("max-size", "1m"), ("cache-max-size", "2m")]);
        let syslog = config("syslog", &[("tag", "x"), ("cache-disabled", "true")]);
        for (asked, defaults, want) in [
            (config("", &[]), &json, config("json-file", &[("max-size", "1m"), ("cache-max-size", "2m")])),
            (
                config("", &[("max-size", "9m")]),
                &json,
                config("json-file", &[("max-size", "9m"), ("cache-max-size", "2m")]),
            ),
            (config("json-file", &[]), &json, config("json-file", &[("max-size", "1m"), ("cache-max-size", "2m")])),
            (config("local", &[]), &json, config("local", &[("cache-max-size", "2m")])),
            (config("", &[("tag", "mine")]), &syslog, config("syslog", &[("tag", "mine"), ("cache-disabled", "true")])),
            (config("json-file", &[]), &syslog, config("json-file", &[("cache-disabled", "true")])),
            (config("", &[]), &config("", &[]), config("json-file", &[])),
        ] {
            assert_eq!(merge(&asked, defaults), want);
        }
    }
}
