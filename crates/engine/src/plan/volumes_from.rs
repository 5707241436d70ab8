//! `--volumes-from`: the mounts of another container, taken over when a container is made.
//!
//! Rule: Docker's "Mount volumes from container". What was copied into a volume stays as it is, and a `--tmpfs` of the
//! other container is not among its mounts.

use super::mounts::{Mount, Source, clean};
use crate::config::HostConfig;
use dhow_types::{Error, Result};

/// One value: `CONTAINER[:MODE]`, as the container and whether it may write.
pub fn parse(spec: &str) -> Result<(&str, bool)> {
    if spec.is_empty() {
        return Err(Error::invalid("volumes-from specification cannot be an empty string"));
    }
    let (container, mode) = spec.split_once(':').unwrap_or((spec, ""));
    let mut writes = true;
    // One word of each kind at most. How mounts propagate is inherited, and nothing is copied.
    let kinds: [&[&str]; 3] = [&["rw", "ro"], &["z", "Z"], &["consistent", "cached", "delegated"]];
    let mut seen = [false; 3];
    for word in mode.split(',').filter(|_| !mode.is_empty()) {
        let kind = kinds.iter().position(|words| words.contains(&word));
        match kind.and_then(|k| seen.get_mut(k)) {
            Some(seen @ false) => *seen = true,
            _ => return Err(Error::invalid(format!("invalid mode: {mode}"))),
        }
        writes &= word != "ro";
    }
    Ok((container, writes))
}

/// What a container gets of the mounts of another one.
pub fn inherit<'a>(mounts: impl IntoIterator<Item = &'a Mount>, of: &HostConfig, writes: bool) -> Vec<Mount> {
    let short: Vec<String> = of.tmpfs.keys().filter_map(|target| clean(target).ok()).collect();
    let theirs = mounts.into_iter().filter(|m| {
        let tmpfs = matches!(m.source, Source::Tmpfs { .. });
        !(tmpfs && short.contains(&m.destination))
    });
    theirs
        .map(|mount| {
            let mut mount = mount.clone();
            if let Source::Volume { copy, .. } = &mut mount.source {
                *copy = false;
            }
            if mount.rw && !writes {
                mount.rw = false;
                match &mut mount.source {
                    Source::Bind { .. } => mount.read_only_recursive = !mount.non_recursive,
                    Source::Tmpfs { options } => options.push("ro".into()),
                    Source::Volume { .. } => {}
                }
            }
            mount
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ContainerConfig, MountConfig};
    use crate::plan::mounts::plan;

    #[test]
    fn values() {
        for (spec, want) in [
            ("web", Ok(("web", true))),
            ("web:", Ok(("web", true))),
            ("web:rw", Ok(("web", true))),
            ("web:ro", Ok(("web", false))),
            ("web:z,ro", Ok(("web", false))),
            ("web:Z", Ok(("web", true))),
            ("", Err("volumes-from specification cannot be an empty string")),
            ("web:what", Err("invalid mode: what")),
            ("web:ro,rw", Err("invalid mode: ro,rw")),
            ("web:ro,", Err("invalid mode: ro,")),
            ("web:ro:z", Err("invalid mode: ro:z")),
            ("web:rslave", Err("invalid mode: rslave")),
            ("web:nocopy", Err("invalid mode: nocopy")),
        ] {
            let got = parse(spec);
            assert_eq!(got.as_ref().map_err(|e| e.text()), want.as_ref().map_err(|e| *e), "{spec}");
        }
    }

    #[test]
    fn everything_but_short_tmpfs_is_taken_over() {
        let host = HostConfig {
            binds: vec!["/m:/bind:rslave".into(), "data:/data".into(), "/old:/kept-ro:ro".into()],
            mounts: vec![MountConfig { kind: "tmpfs".into(), target: "/long".into(), ..MountConfig::default() }],
            tmpfs: [("/short/".to_owned(), String::new())].into(),
            ..HostConfig::default()
        };
        let config = ContainerConfig { volumes: ["/image".to_owned()].into(), ..ContainerConfig::default() };
        let mounts = plan(&config, &host, Vec::new()).unwrap();
        let got = inherit(&mounts, &host, true);
        let at: Vec<_> = got.iter().map(|m| (m.destination.as_str(), m.rw)).collect();
        assert_eq!(at, [("/bind", true), ("/data", true), ("/image", true), ("/kept-ro", false), ("/long", true)]);
        assert!(got.iter().all(|m| !matches!(m.source, Source::Volume { copy: true, .. })));
        assert_eq!(got[0].propagation, "rslave");
        let got = inherit(&mounts, &host, false);
        assert!(got.iter().all(|m| !m.rw));
        assert!(got[0].read_only_recursive);
        assert!(matches!(&got[4].source, Source::Tmpfs { options } if options.last().unwrap() == "ro"));
    }

    #[test]
    fn own_mounts_win_and_a_later_container_wins_over_an_earlier_one() {
        let of = |bind: &str| {
            let host = HostConfig { binds: vec![bind.into()], ..HostConfig::default() };
            inherit(&plan(&ContainerConfig::default(), &host, Vec::new()).unwrap(), &host, true)
        };
        let inherited = [of("/first:/a"), of("/second:/a"), of("/third:/b"), of("/fourth:/c")].concat();
        let host = HostConfig { binds: vec!["/mine:/b".into()], ..HostConfig::default() };
        let config = ContainerConfig { volumes: ["/c".to_owned()].into(), ..ContainerConfig::default() };
        let got = plan(&config, &host, inherited).unwrap();
        let from: Vec<_> = got
            .iter()
            .map(|m| match &m.source {
                Source::Bind { path, .. } => (m.destination.as_str(), path.as_str()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(from, [("/a", "/second"), ("/b", "/mine"), ("/c", "/fourth")]);
    }
}
