//! From a container's log options to what its shim is told: files, receivers, what goes along with each line.

use crate::config::{ContainerConfig, HostConfig, LogConfig as Options};
use crate::core::Core;
use crate::plan::log::syslog::Address;
use crate::plan::log::tag::Info;
use crate::plan::log::{self, Files, Plan, To, attrs};
use crate::plan::log_store::Store;
use crate::plan::merge;
use crate::record::Record;
use dhow_shim::protocol::{LogConfig, Receiver, SendConfig, SyslogAddress, SyslogConfig};
use dhow_types::{Context, Error, Result};
use jiff::{Timestamp, tz::TimeZone};
use std::net::ToSocketAddrs;

/// Changes of local time that a shim is told: twenty years of summers and winters.
const OFFSETS: usize = 40;

/// What is wrong with log options is said when a container is made, and when the daemon begins for its own.
pub(super) fn check(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let plan = log::plan(&host.log_config)?;
    let command = merge::command(config);
    // Whether a tag can be made does not hang on what the container will be called.
    let info = Info {
        options: &host.log_config.options,
        id: "000000000000",
        name: "name",
        command: &command,
        image_id: "",
        image_name: &config.image,
        env: &config.env,
        labels: &config.labels,
        hostname: "",
    };
    match plan {
        Plan::None => Ok(()),
        Plan::JsonFile(_) | Plan::Local(_) => attrs::check(&info),
        Plan::Send { to, .. } => {
            if let To::Syslog(to) = &to
                && let Address::Unix(path) | Address::Unixgram(path) = &to.address
            {
                std::fs::metadata(path).map_err(|e| Error::invalid(format!("syslog-address: stat {path}: {e}")))?;
            }
            attrs::check(&info)?;
            attrs::tag(&info).map(drop)
        }
    }
}

/// The daemon's own options.
pub(crate) fn check_defaults(options: &Options) -> Result<()> {
    log::plan(options).map(drop).context("failed to set log opts")
}

/// What the shim of a container keeps, and whom it sends to.
pub(super) fn orders(core: &Core, record: &Record) -> Result<(LogConfig, Option<SendConfig>)> {
    let command = merge::command(&record.config);
    let image_id = record.root.image().map(|id| id.to_string()).unwrap_or_default();
    let info = Info {
        options: &record.host.log_config.options,
        id: record.id.as_str(),
        name: &record.name,
        command: &command,
        image_id: &image_id,
        image_name: &record.config.image,
        env: &record.config.env,
        labels: &record.config.labels,
        hostname: &core.facts.hostname,
    };
    let kept = |files: Files| -> Result<LogConfig> {
        if let Store::Segments { max_size, max_files } = record.log_store {
            return Ok(LogConfig::Segments { dir: core.dirs.segments(&record.id), max_size, max_files });
        }
        Ok(LogConfig::JsonFile {
            path: core.dirs.log(&record.id),
            max_size: files.max_size.unwrap_or(0),
            max_files: files.max_files,
            compress: files.compress,
            attrs: attrs::json(&attrs::of_line(&info)?),
        })
    };
    match log::plan(&record.host.log_config)? {
        Plan::None => Ok((LogConfig::None, None)),
        Plan::JsonFile(files) | Plan::Local(files) => Ok((kept(files)?, None)),
        Plan::Send { to, ring, copy } => {
            let receiver = match to {
                To::Journal => Receiver::Journal {
                    socket: core.settings.journal_socket.clone(),
                    fields: attrs::journal(&info, epoch()?)?,
                },
                To::Syslog(to) => Receiver::Syslog(SyslogConfig {
                    address: resolve(to.address)?,
                    facility: to.facility,
                    format: to.format,
                    tag: attrs::tag_of_line(&info)?,
                    hostname: core.facts.hostname.clone(),
                    offsets: offsets(&TimeZone::system(), Timestamp::now()),
                }),
            };
            Ok((copy.map(kept).transpose()?.unwrap_or(LogConfig::None), Some(SendConfig { receiver, ring })))
        }
    }
}

/// Tells the entries of this start from all others.
fn epoch() -> Result<String> {
    Ok(crate::core::random()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Names become addresses here: a shim has one thread, which must not wait for a name server.
fn resolve(address: Address) -> Result<SyslogAddress> {
    let lookup = |protocol: &str, host: &str, port: u16| {
        let found = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        found.with_context(|| {
            format!(
                "failed to create task for container: failed to initialize logging driver: dial {protocol}: lookup {host}"
            )
        })
    };
    Ok(match address {
        Address::Local => SyslogAddress::Local,
        Address::Unix(path) => SyslogAddress::Unix(path.into()),
        Address::Unixgram(path) => SyslogAddress::Unixgram(path.into()),
        Address::Udp(host, port) => SyslogAddress::Udp(lookup("udp", &host, port)?),
        Address::Tcp(host, port) => SyslogAddress::Tcp(lookup("tcp", &host, port)?),
    })
}

/// Local time from now on, for a shim that has no time zones of its own.
fn offsets(zone: &TimeZone, now: Timestamp) -> Vec<(i64, i32)> {
    let mut out = vec![(now.as_second(), zone.to_offset(now).seconds())];
    out.extend(zone.following(now).take(OFFSETS).map(|t| (t.timestamp().as_second(), t.offset().seconds())));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_is_a_table_of_its_changes() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(offsets(&TimeZone::UTC, now), [(1_767_225_600, 0)]);
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let table = offsets(&berlin, now);
        assert_eq!(table.len(), OFFSETS + 1);
        // 2026-03-29 01:00 UTC, 2026-10-25 01:00 UTC.
        assert_eq!(&table[..3], [(1_767_225_600, 3600), (1_774_746_000, 7200), (1_792_890_000, 3600)]);
    }

    #[test]
    fn names_become_addresses() {
        let got = resolve(Address::Tcp("127.0.0.1".into(), 99)).unwrap();
        assert_eq!(got, SyslogAddress::Tcp(vec!["127.0.0.1:99".parse().unwrap()]));
        let error = resolve(Address::Udp("no such host".into(), 99)).unwrap_err();
        assert!(error.text().contains("failed to initialize logging driver: dial udp: lookup no such host"), "{error}");
    }
}
