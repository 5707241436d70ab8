//! `-v`, `--mount`, `--tmpfs` and an image's VOLUME as one list of mounts.
//!
//! Rules: Docker's volume syntax. A destination is data from outside: it is cleaned as text here, and walked inside
//! the container's root by descriptor when it is mounted (rule R1).

use super::names;
use crate::config::{BindOptions, ContainerConfig, HostConfig, MountConfig};
use dhow_types::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Largest number of mounts of one container.
const MAX_MOUNTS: usize = 10_000;

/// Where a mount comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A path of the machine.
    Bind {
        /// Absolute path.
        path: String,
        /// Make a directory if nothing is there.
        create: bool,
    },
    /// A volume; without a name a new one of its own.
    Volume {
        /// Its name.
        name: Option<String>,
        /// Nobody named it: it may go with its container.
        anonymous: bool,
        /// Copy what the image has there into it while it is empty.
        copy: bool,
        /// Labels if it is made.
        labels: BTreeMap<String, String>,
    },
    /// Memory.
    Tmpfs {
        /// Options for the mount.
        options: Vec<String>,
    },
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Clean absolute path in the container.
    pub destination: String,
    /// Whence.
    pub source: Source,
    /// Writable.
    pub rw: bool,
    /// Propagation of a bind; empty for others.
    pub propagation: String,
    /// Options as they were given.
    pub mode: String,
    /// Without sub-mounts.
    #[serde(default)]
    pub non_recursive: bool,
    /// Read-only reaches sub-mounts.
    #[serde(default)]
    pub read_only_recursive: bool,
}

/// All mounts in the order they are mounted: parents before children. `inherited` come from other containers.
pub fn plan(config: &ContainerConfig, host: &HostConfig, inherited: Vec<Mount>) -> Result<Vec<Mount>> {
    let mut out: Vec<Mount> = Vec::new();
    for spec in &host.binds {
        add(&mut out, bind(spec)?)?;
    }
    for m in &host.mounts {
        add(&mut out, long(m)?)?;
    }
    for (target, options) in &host.tmpfs {
        add(&mut out, tmpfs(target, options)?)?;
    }
    // What is inherited gives way to the container's own, and to what is inherited later.
    for mount in inherited.into_iter().rev() {
        if !out.iter().any(|m| m.destination == mount.destination) {
            out.push(mount);
        }
    }
    // What an image declares gives way to what the user mounts there.
    for target in &config.volumes {
        let destination = clean(target).map_err(|e| e.prefixed(format!("invalid volume {target:?}")))?;
        if !out.iter().any(|m| m.destination == destination) {
            let source = Source::Volume { name: None, anonymous: true, copy: true, labels: BTreeMap::new() };
            out.push(Mount::new(destination, source));
        }
    }
    if out.len() > MAX_MOUNTS {
        return Err(Error::invalid(format!("more than {MAX_MOUNTS} mounts")));
    }
    out.sort_by(|a, b| depth(&a.destination).cmp(&depth(&b.destination)).then(a.destination.cmp(&b.destination)));
    Ok(out)
}

fn add(out: &mut Vec<Mount>, mount: Mount) -> Result<()> {
    if out.iter().any(|m| m.destination == mount.destination) {
        return Err(Error::invalid(format!("Duplicate mount point: {}", mount.destination)));
    }
    out.push(mount);
    Ok(())
}

fn depth(path: &str) -> usize {
    path.matches('/').count()
}

impl Mount {
    fn new(destination: String, source: Source) -> Self {
        Self {
            destination,
            source,
            rw: true,
            propagation: String::new(),
            mode: String::new(),
            non_recursive: false,
            read_only_recursive: false,
        }
    }
}

/// A clean absolute path that is not the root. `..` stops at the root, as in the kernel.
pub fn clean(path: &str) -> Result<String> {
    if !path.starts_with('/') {
        return Err(Error::invalid(format!("invalid mount path: '{path}' mount path must be absolute")));
    }
    if path.contains('\0') {
        return Err(Error::invalid(format!("invalid mount path: {path:?} contains a zero byte")));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    if parts.is_empty() {
        return Err(Error::invalid("invalid specification: destination can't be '/'"));
    }
    Ok(format!("/{}", parts.join("/")))
}

fn bind(spec: &str) -> Result<Mount> {
    let bad = || Error::invalid(format!("invalid volume specification: '{spec}'"));
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, mode] => (Some(*source), *target, *mode),
        _ => return Err(bad()),
    };
    let destination = clean(target).map_err(|e| e.prefixed(format!("invalid volume specification: '{spec}'")))?;
    let mut mount = match source {
        None => {
            let source = Source::Volume { name: None, anonymous: true, copy: true, labels: BTreeMap::new() };
            Mount::new(destination, source)
        }
        Some("") => return Err(bad()),
        Some(path) if path.starts_with('/') => {
            Mount::new(destination, Source::Bind { path: path.to_owned(), create: true })
        }
        Some(name) => {
            names::check_volume(name)?;
            let source =
                Source::Volume { name: Some(name.to_owned()), anonymous: false, copy: true, labels: BTreeMap::new() };
            Mount::new(destination, source)
        }
    };
    mount.mode = mode.to_owned();
    let is_bind = matches!(mount.source, Source::Bind { .. });
    for option in mode.split(',').filter(|o| !o.is_empty()) {
        match option {
            "rw" => mount.rw = true,
            "ro" => mount.rw = false,
            // No SELinux: there is nothing to relabel. The other three mean the same on Linux.
            "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            "nocopy" => match &mut mount.source {
                Source::Volume { copy, .. } => *copy = false,
                _ => return Err(Error::invalid(format!("invalid mode: {mode}"))),
            },
            "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" if is_bind => {
                mount.propagation = option.to_owned();
            }
            _ => return Err(Error::invalid(format!("invalid mode: {mode}"))),
        }
    }
    if is_bind {
        finish_bind(&mut mount);
        mount.read_only_recursive = !mount.rw;
    }
    Ok(mount)
}

fn finish_bind(mount: &mut Mount) {
    if mount.propagation.is_empty() {
        mount.propagation = "rprivate".into();
    }
}

fn long(m: &MountConfig) -> Result<Mount> {
    let invalid = |text: String| Error::invalid(format!("invalid mount config for type \"{}\": {text}", m.kind));
    let only = |set: bool, what: &str| {
        if set { Err(invalid(format!("field {what} must not be specified"))) } else { Ok(()) }
    };
    if m.target.is_empty() {
        return Err(invalid("field Target must not be empty".into()));
    }
    let destination = clean(&m.target).map_err(|e| invalid(e.text().to_owned()))?;
    if !matches!(m.consistency.as_str(), "" | "default" | "consistent" | "cached" | "delegated") {
        return Err(invalid(format!("unknown consistency {:?}", m.consistency)));
    }
    let mut mount = match m.kind.as_str() {
        "bind" => {
            only(m.volume.is_some(), "VolumeOptions")?;
            only(m.tmpfs.is_some(), "TmpfsOptions")?;
            if m.source.is_empty() {
                return Err(invalid("field Source must not be empty".into()));
            }
            if !m.source.starts_with('/') {
                return Err(invalid(format!("invalid mount path: '{}' mount path must be absolute", m.source)));
            }
            let options = m.bind.clone().unwrap_or_default();
            bind_options(
                m,
                &options,
                Mount::new(destination, Source::Bind { path: m.source.clone(), create: options.create_mountpoint }),
            )
            .map_err(|e| invalid(e.text().to_owned()))?
        }
        "volume" => {
            only(m.bind.is_some(), "BindOptions")?;
            only(m.tmpfs.is_some(), "TmpfsOptions")?;
            let options = m.volume.clone().unwrap_or_default();
            if !matches!(options.driver.as_str(), "" | "local") || !options.driver_options.is_empty() {
                return Err(Error::not_implemented(
                    "volume drivers and their options are not built: use plain local volumes",
                ));
            }
            if !options.subpath.is_empty() {
                return Err(Error::not_implemented("volume-subpath is not built"));
            }
            let name = (!m.source.is_empty()).then(|| m.source.clone());
            if let Some(name) = &name {
                names::check_volume(name)?;
            }
            let anonymous = name.is_none();
            Mount::new(destination, Source::Volume { name, anonymous, copy: !options.no_copy, labels: options.labels })
        }
        "tmpfs" => {
            only(m.bind.is_some(), "BindOptions")?;
            only(m.volume.is_some(), "VolumeOptions")?;
            only(!m.source.is_empty(), "Source")?;
            let t = m.tmpfs.clone().unwrap_or_default();
            let mut options = TMPFS.map(String::from).to_vec();
            if t.size_bytes < 0 || t.mode > 0o7777 {
                return Err(invalid("size or mode out of range".into()));
            }
            if t.size_bytes > 0 {
                options.push(format!("size={}", t.size_bytes));
            }
            if t.mode > 0 {
                options.push(format!("mode={:o}", t.mode));
            }
            for words in &t.options {
                match words.as_slice() {
                    [flag] if flag == "exec" || flag == "noexec" => merge_option(&mut options, flag),
                    other => return Err(invalid(format!("tmpfs option {other:?} is not allowed"))),
                }
            }
            Mount::new(destination, Source::Tmpfs { options })
        }
        "" => return Err(Error::invalid("invalid mount config: field Type must not be empty")),
        "image" | "npipe" | "cluster" => {
            return Err(Error::not_implemented(format!("mounts of type {} are not built", m.kind)));
        }
        other => return Err(Error::invalid(format!("mount type unknown: {other:?}"))),
    };
    mount.rw = !m.read_only;
    Ok(mount)
}

fn bind_options(m: &MountConfig, options: &BindOptions, mut mount: Mount) -> Result<Mount> {
    match options.propagation.as_str() {
        "" | "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
            mount.propagation.clone_from(&options.propagation);
        }
        other => return Err(Error::invalid(format!("invalid propagation mode: {other}"))),
    }
    finish_bind(&mut mount);
    mount.non_recursive = options.non_recursive;
    if options.read_only_force_recursive && !m.read_only {
        return Err(Error::invalid("ReadOnlyForceRecursive needs ReadOnly"));
    }
    if options.read_only_force_recursive && mount.propagation != "rprivate" {
        return Err(Error::invalid("ReadOnlyForceRecursive needs propagation rprivate"));
    }
    if options.read_only_force_recursive && (options.non_recursive || options.read_only_non_recursive) {
        return Err(Error::invalid("ReadOnlyForceRecursive and a non-recursive option contradict each other"));
    }
    mount.read_only_recursive = m.read_only && !options.read_only_non_recursive && !options.non_recursive;
    Ok(mount)
}

/// Options of every tmpfs unless they are taken back.
const TMPFS: [&str; 3] = ["noexec", "nosuid", "nodev"];

fn tmpfs(target: &str, text: &str) -> Result<Mount> {
    let destination = clean(target)?;
    let mut options = TMPFS.map(String::from).to_vec();
    for option in text.split(',').filter(|o| !o.is_empty()) {
        let known = match option.split_once('=') {
            Some(("size" | "nr_blocks" | "nr_inodes" | "mode" | "uid" | "gid" | "mpol" | "huge", value)) => {
                !value.is_empty()
            }
            Some(_) => false,
            None => matches!(
                option,
                "ro" | "rw"
                    | "exec"
                    | "noexec"
                    | "suid"
                    | "nosuid"
                    | "dev"
                    | "nodev"
                    | "sync"
                    | "async"
                    | "dirsync"
                    | "atime"
                    | "noatime"
                    | "diratime"
                    | "nodiratime"
                    | "relatime"
                    | "norelatime"
                    | "strictatime"
                    | "nostrictatime"
                    | "private"
                    | "rprivate"
                    | "shared"
                    | "rshared"
                    | "slave"
                    | "rslave"
            ),
        };
        if !known {
            return Err(Error::invalid(format!("invalid tmpfs option [{option:?}]")));
        }
        merge_option(&mut options, option);
    }
    let mut mount = Mount::new(destination, Source::Tmpfs { options });
    mount.mode = text.to_owned();
    mount.rw = !text.split(',').any(|o| o == "ro");
    Ok(mount)
}

/// A later word replaces its opposite.
fn merge_option(options: &mut Vec<String>, option: &str) {
    let opposite = match option {
        "ro" => "rw".to_owned(),
        "rw" => "ro".to_owned(),
        o => o.strip_prefix("no").map_or_else(|| format!("no{o}"), str::to_owned),
    };
    let key = option.split_once('=').map(|(k, _)| format!("{k}="));
    options.retain(|o| *o != opposite && o != option && key.as_ref().is_none_or(|k| !o.starts_with(k)));
    options.push(option.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(spec: &str) -> Result<Mount> {
        let host = HostConfig { binds: vec![spec.into()], ..Default::default() };
        plan(&ContainerConfig::default(), &host, Vec::new()).map(|mut v| v.remove(0))
    }

    #[test]
    fn short_form() {
        let m = one("/src:/dst:ro,rslave").unwrap();
        assert_eq!((m.destination.as_str(), m.rw, m.propagation.as_str()), ("/dst", false, "rslave"));
        assert_eq!(m.source, Source::Bind { path: "/src".into(), create: true });
        assert!(m.read_only_recursive);
        let m = one("data:/dst/../x/").unwrap();
        assert_eq!(m.destination, "/x");
        assert!(
            matches!(m.source, Source::Volume { name: Some(ref n), anonymous: false, copy: true, .. } if n == "data")
        );
        let m = one("/only").unwrap();
        assert!(matches!(m.source, Source::Volume { name: None, anonymous: true, .. }));
        for bad in
            ["", ":/x", "/a:/b:nope", "/a:/b:c:d", "a:b", "/a:/", "../a:/b", "x:/b:shared", "/a:/b:nocopy", "/a:/.."]
        {
            assert!(one(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn image_volumes_give_way_and_parents_come_first() {
        let config = ContainerConfig {
            volumes: ["/data/".to_owned(), "/var/lib/x/../y".to_owned()].into(),
            ..Default::default()
        };
        let host = HostConfig {
            binds: vec!["/m:/a/b/c".into(), "/n:/data".into()],
            tmpfs: [("/a".to_owned(), "size=1m,exec".to_owned())].into(),
            ..Default::default()
        };
        let out = plan(&config, &host, Vec::new()).unwrap();
        let at: Vec<_> = out.iter().map(|m| m.destination.as_str()).collect();
        assert_eq!(at, ["/a", "/data", "/a/b/c", "/var/lib/y"]);
        assert!(
            matches!(&out[0].source, Source::Tmpfs { options } if *options == ["nosuid", "nodev", "size=1m", "exec"])
        );
        assert!(matches!(out[1].source, Source::Bind { .. }));
    }

    #[test]
    fn conflicts() {
        let host = HostConfig {
            binds: vec!["/m:/a".into()],
            tmpfs: [("/a".to_owned(), String::new())].into(),
            ..Default::default()
        };
        assert_eq!(
            plan(&ContainerConfig::default(), &host, Vec::new()).unwrap_err().text(),
            "Duplicate mount point: /a"
        );
    }

    #[test]
    fn long_form() {
        let get = |m: MountConfig| {
            let host = HostConfig { mounts: vec![m], ..Default::default() };
            plan(&ContainerConfig::default(), &host, Vec::new()).map(|mut v| v.remove(0))
        };
        let base = |kind: &str, source: &str| MountConfig {
            kind: kind.into(),
            source: source.into(),
            target: "/t".into(),
            ..Default::default()
        };
        assert_eq!(get(base("bind", "/s")).unwrap().source, Source::Bind { path: "/s".into(), create: false });
        assert!(matches!(get(base("volume", "")).unwrap().source, Source::Volume { anonymous: true, .. }));
        let mut t = base("tmpfs", "");
        t.tmpfs = Some(crate::config::TmpfsOptions { size_bytes: 5, mode: 0o700, options: vec![vec!["exec".into()]] });
        assert!(matches!(get(t).unwrap().source,
            Source::Tmpfs { ref options } if *options == ["nosuid", "nodev", "size=5", "mode=700", "exec"]));
        for (kind, source) in [("bind", ""), ("bind", "rel"), ("tmpfs", "x"), ("image", "x"), ("", ""), ("what", "")] {
            assert!(get(base(kind, source)).is_err(), "{kind}");
        }
    }
}
