//! `-v`, `--mount` and `--tmpfs`. Rule: Docker's "Bind mounts", "Volumes" and "tmpfs mounts" pages.

use crate::cli::units;
use anyhow::{Context, Result, bail};
use dhow_api::{BindOptions, DriverConfig, Mount, TmpfsOptions, VolumeOptions};
use std::collections::BTreeMap;
use std::path::Path;

/// What one `-v` value is.
#[derive(Debug, PartialEq, Eq)]
pub enum Volume {
    /// `SRC:DST[:OPTIONS]`, the source a path or a volume's name.
    Bind(String),
    /// `DST` alone: an anonymous volume.
    Anonymous(String),
}

/// One `-v` value; a source that begins with `.` or `~` counts from the caller's directory or home.
pub fn volume(text: &str, cwd: &Path, home: Option<&str>) -> Result<Volume> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [target] if !target.is_empty() => Ok(Volume::Anonymous(target.to_owned())),
        [source, target] | [source, target, _] if !source.is_empty() && !target.is_empty() => {
            let options = parts.get(2).map(|o| format!(":{o}")).unwrap_or_default();
            Ok(Volume::Bind(format!("{}:{target}{options}", absolute(source, cwd, home))))
        }
        [""] => bail!("invalid empty volume spec"),
        // So short that it is taken for a place in the container; the daemon says why it is none.
        _ if text.len() <= 2 => Ok(Volume::Anonymous(text.to_owned())),
        _ if parts.iter().take(3).any(|part| part.is_empty()) => {
            bail!("invalid spec: {text}: empty section between colons")
        }
        _ => bail!("invalid spec: {text}: too many colons"),
    }
}

fn absolute(source: &str, cwd: &Path, home: Option<&str>) -> String {
    let tail = |prefix: &str| source.strip_prefix(prefix).filter(|t| t.is_empty() || t.starts_with('/'));
    let joined = match (tail("~"), home) {
        (Some(rest), Some(home)) => Path::new(home).join(rest.trim_start_matches('/')),
        _ if source == "." || source == ".." || source.starts_with("./") || source.starts_with("../") => {
            cwd.join(source)
        }
        _ => return source.to_owned(),
    };
    // lexical, as Docker's client: the daemon looks at the file system
    let mut clean = std::path::PathBuf::new();
    for part in joined.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean.display().to_string()
}

/// `DIR[:OPTIONS]` of `--tmpfs`.
pub fn tmpfs(text: &str) -> (String, String) {
    let (dir, options) = text.split_once(':').unwrap_or((text, ""));
    (dir.to_owned(), options.to_owned())
}

/// One `--mount` value: fields of comma-separated values, in which quotes keep a comma.
pub fn mount(text: &str, cwd: &Path, home: Option<&str>) -> Result<Mount> {
    let mut mount = Mount { r#type: "volume".into(), ..Mount::default() };
    let mut bind = BindOptions::default();
    let mut volume = VolumeOptions::default();
    let mut driver = DriverConfig::default();
    let mut tmpfs = TmpfsOptions::default();
    if text.is_empty() {
        bail!("EOF");
    }
    for field in fields(text)? {
        let (key, value) = field.split_once('=').map_or((field.as_str(), None), |(k, v)| (k, Some(v)));
        let need = || value.with_context(|| format!("invalid field '{field}' must be a key=value pair"));
        let switch = || match value {
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => bail!("invalid value for {key}: {other}"),
        };
        match key.to_ascii_lowercase().as_str() {
            "type" => mount.r#type = need()?.to_ascii_lowercase(),
            "source" | "src" => mount.source = absolute(need()?, cwd, home),
            "target" | "dst" | "destination" => mount.target = need()?.to_owned(),
            "readonly" | "ro" => mount.read_only = switch()?,
            "consistency" => mount.consistency = need()?.to_ascii_lowercase(),
            "bind-propagation" => bind.propagation = need()?.to_ascii_lowercase(),
            "bind-create-src" => bind.create_mountpoint = switch()?,
            "bind-nonrecursive" => bind.non_recursive = switch()?,
            "bind-recursive" => match need()? {
                "enabled" => {}
                "disabled" => bind.non_recursive = true,
                "writable" => bind.read_only_non_recursive = true,
                "readonly" => bind.read_only_force_recursive = true,
                other => bail!(
                    "invalid value for {key}: {other} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                ),
            },
            "volume-nocopy" => volume.no_copy = switch()?,
            "volume-subpath" => volume.subpath = need()?.to_owned(),
            "volume-label" => {
                let (k, v) = need()?.split_once('=').unwrap_or((need()?, ""));
                volume.labels.get_or_insert_default().insert(k.into(), v.into());
            }
            "volume-driver" => driver.name = need()?.to_owned(),
            "volume-opt" => {
                let (k, v) = need()?.split_once('=').unwrap_or((need()?, ""));
                driver.options.get_or_insert_default().insert(k.into(), v.into());
            }
            "tmpfs-size" => {
                let size = need()?;
                tmpfs.size_bytes =
                    units::bytes(size).map_err(|_| anyhow::anyhow!("invalid value for tmpfs-size: {size}"))?;
            }
            "tmpfs-mode" => {
                let mode = need()?;
                tmpfs.mode = u32::from_str_radix(mode, 8)
                    .map_err(|_| anyhow::anyhow!("invalid value for tmpfs-mode: {mode}"))?;
            }
            _ if value.is_none() => bail!("invalid field '{field}' must be a key=value pair"),
            _ => bail!("unexpected key '{key}' in '{field}'"),
        }
    }
    if mount.target.is_empty() {
        bail!("target is required");
    }
    if driver != DriverConfig::default() {
        volume.driver_config = Some(driver);
    }
    let foreign = |kind: &str| anyhow::anyhow!("cannot mix '{kind}-*' options with mount type '{}'", mount.r#type);
    let kind = mount.r#type.clone();
    for (name, used) in [
        ("bind", bind != BindOptions::default()),
        ("volume", volume != VolumeOptions::default()),
        ("tmpfs", tmpfs != TmpfsOptions::default()),
    ] {
        if used && kind != name {
            return Err(foreign(name));
        }
    }
    match kind.as_str() {
        "bind" => mount.bind_options = (bind != BindOptions::default()).then_some(bind),
        "volume" => mount.volume_options = (volume != VolumeOptions::default()).then_some(volume),
        "tmpfs" => mount.tmpfs_options = (tmpfs != TmpfsOptions::default()).then_some(tmpfs),
        _ => {}
    }
    Ok(mount)
}

/// Comma-separated values, in which quotes keep a comma.
pub fn fields(text: &str) -> Result<Vec<String>> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let last = out.len() - 1;
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => out[last].push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(String::new()),
            c => out[last].push(c),
        }
    }
    if quoted {
        bail!("{text:?}: a quote is not closed");
    }
    Ok(out.into_iter().filter(|f| !f.is_empty()).collect())
}

/// The anonymous volumes as the API has them.
pub fn anonymous(volumes: &[Volume]) -> BTreeMap<String, dhow_api::Empty> {
    volumes
        .iter()
        .filter_map(|v| match v {
            Volume::Anonymous(target) => Some((target.clone(), dhow_api::Empty {})),
            Volume::Bind(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_volumes() {
        let v = |t: &str| volume(t, Path::new("/w/d"), Some("/home/u"));
        assert_eq!(v("/data").unwrap(), Volume::Anonymous("/data".into()));
        assert_eq!(v("name:/data").unwrap(), Volume::Bind("name:/data".into()));
        assert_eq!(v("./x:/data:ro,z").unwrap(), Volume::Bind("/w/d/x:/data:ro,z".into()));
        assert_eq!(v("../x:/data").unwrap(), Volume::Bind("/w/x:/data".into()));
        assert_eq!(v("~/x:/data").unwrap(), Volume::Bind("/home/u/x:/data".into()));
        assert_eq!(v(".:/data").unwrap(), Volume::Bind("/w/d:/data".into()));
        // The daemon refuses it.
        assert_eq!(v(":").unwrap(), Volume::Anonymous(":".into()));
        for (bad, want) in [
            ("", "invalid empty volume spec"),
            ("/a:", "invalid spec: /a:: empty section between colons"),
            (":/b", "invalid spec: :/b: empty section between colons"),
            ("aa:b:c:d", "invalid spec: aa:b:c:d: too many colons"),
        ] {
            assert_eq!(v(bad).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn long_mounts() {
        let m = |t: &str| mount(t, Path::new("/w"), None);
        let bind = m("type=bind,src=./x,dst=/y,ro,bind-propagation=rslave").unwrap();
        assert_eq!((bind.source.as_str(), bind.target.as_str(), bind.read_only), ("/w/x", "/y", true));
        assert_eq!(bind.bind_options.unwrap().propagation, "rslave");
        let tmp = m("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770").unwrap().tmpfs_options.unwrap();
        assert_eq!((tmp.size_bytes, tmp.mode), (1 << 20, 0o1770));
        assert_eq!(m("source=v,target=/x").unwrap().r#type, "volume");
        assert_eq!(m("type=bind,\"src=/a,b\",dst=/y").unwrap().source, "/a,b");
        for (bad, part) in [
            ("type=bind,source=/x", "target is required"),
            ("type=bind,target=/x,tmpfs-size=1", "cannot mix"),
            ("target=/x,what=1", "unexpected key 'what' in 'what=1'"),
            ("target=/x,what", "invalid field 'what' must be a key=value pair"),
            ("type=bind,target=/x,readonly=maybe", "invalid value"),
        ] {
            assert!(m(bad).unwrap_err().to_string().contains(part), "{bad}");
        }
    }
}
