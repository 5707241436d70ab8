//! The configuration of a container from what was asked and what its image says.
//!
//! Rules: Docker's merge of user and image configuration (behaviour of API v1.56, `POST /containers/create`).

use crate::config::ContainerConfig;
use dhow_types::{Error, Result};

/// The asked configuration completed with the image's.
pub fn merge(user: &ContainerConfig, image: &ContainerConfig) -> Result<ContainerConfig> {
    let mut out = user.clone();
    if out.user.is_empty() {
        out.user.clone_from(&image.user);
    }
    out.exposed_ports.extend(image.exposed_ports.iter().cloned());
    out.volumes.extend(image.volumes.iter().cloned());
    for entry in &image.env {
        if !out.env.iter().any(|e| key(e) == key(entry)) {
            out.env.push(entry.clone());
        }
    }
    for (name, value) in &image.labels {
        out.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if out.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if out.cmd.as_ref().is_none_or(Vec::is_empty) {
            out.cmd.clone_from(&image.cmd);
        }
        if out.entrypoint.is_none() {
            out.entrypoint.clone_from(&image.entrypoint);
        }
    }
    if out.entrypoint.as_deref().is_some_and(|e| e == [""]) {
        out.entrypoint = None;
    }
    if out.working_dir.is_empty() {
        out.working_dir.clone_from(&image.working_dir);
    }
    if out.stop_signal.as_ref().is_none_or(String::is_empty) {
        out.stop_signal.clone_from(&image.stop_signal);
    }
    if out.shell.is_none() {
        out.shell.clone_from(&image.shell);
    }
    out.healthcheck = super::health::merge(user.healthcheck.as_ref(), image.healthcheck.as_ref());
    if command(&out).is_empty() {
        return Err(Error::invalid("no command specified: name one, or use an image that has one"));
    }
    Ok(out)
}

/// Entry point and arguments as one list.
pub fn command(config: &ContainerConfig) -> Vec<String> {
    config.entrypoint.iter().chain(&config.cmd).flatten().cloned().collect()
}

/// The environment of the first process: Docker's own variables, then the container's, which win.
/// `HOME` comes last and only if nobody set it, from the user's entry in the container's passwd file.
pub fn environment(config: &ContainerConfig, hostname: &str, home: &str) -> Vec<String> {
    let mut env = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("HOSTNAME={hostname}"),
    ];
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    overlay_env(&mut env, &config.env);
    if !env.iter().any(|e| key(e) == "HOME") {
        env.push(format!("HOME={home}"));
    }
    env
}

/// Sets each entry of `changes` in `env`; an entry without `=` removes the variable.
pub fn overlay_env(env: &mut Vec<String>, changes: &[String]) {
    for change in changes {
        let at = env.iter().position(|e| key(e) == key(change));
        match (at, change.contains('=')) {
            (Some(i), true) => env[i].clone_from(change),
            (Some(i), false) => drop(env.remove(i)),
            (None, true) => env.push(change.clone()),
            (None, false) => {}
        }
    }
}

fn key(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(k, _)| k)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HealthConfig;

    fn words(s: &[&str]) -> Vec<String> {
        s.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn entry_point_and_command() {
        let w = |s: Option<&[&str]>| s.map(words);
        type W<'a> = Option<&'a [&'a str]>;
        // user entrypoint, user cmd, image entrypoint, image cmd -> command
        let rows: &[(W<'_>, W<'_>, W<'_>, W<'_>, &[&str])] = &[
            (None, None, Some(&["e"]), Some(&["c"]), &["e", "c"]),
            (None, Some(&["u"]), Some(&["e"]), Some(&["c"]), &["e", "u"]),
            (Some(&["x"]), None, Some(&["e"]), Some(&["c"]), &["x"]),
            (Some(&["x"]), Some(&["u"]), Some(&["e"]), Some(&["c"]), &["x", "u"]),
            (Some(&[""]), Some(&["u"]), Some(&["e"]), Some(&["c"]), &["u"]),
            (Some(&[]), None, Some(&["e"]), Some(&["c"]), &["c"]),
            (None, Some(&["u"]), None, None, &["u"]),
        ];
        for (ue, uc, ie, ic, want) in rows {
            let user = ContainerConfig { entrypoint: w(*ue), cmd: w(*uc), ..Default::default() };
            let image = ContainerConfig { entrypoint: w(*ie), cmd: w(*ic), ..Default::default() };
            assert_eq!(command(&merge(&user, &image).unwrap()), words(want), "{ue:?} {uc:?} {ie:?} {ic:?}");
        }
        let user = ContainerConfig { entrypoint: w(Some(&[""])), ..Default::default() };
        let image = ContainerConfig { cmd: w(Some(&["c"])), ..Default::default() };
        assert!(merge(&user, &image).unwrap_err().text().starts_with("no command specified"));
    }

    #[test]
    fn user_wins_over_image() {
        let user = ContainerConfig {
            env: words(&["A=1", "B=2"]),
            cmd: Some(words(&["c"])),
            labels: [("l".to_owned(), "user".to_owned())].into(),
            exposed_ports: ["1/tcp".to_owned()].into(),
            healthcheck: Some(HealthConfig { interval: 7_000_000, ..Default::default() }),
            ..Default::default()
        };
        let image = ContainerConfig {
            env: words(&["B=image", "C=3"]),
            user: "nobody".into(),
            working_dir: "/w".into(),
            stop_signal: Some("SIGINT".into()),
            healthcheck: Some(HealthConfig { test: words(&["CMD", "x"]), retries: 2, ..Default::default() }),
            labels: [("l".to_owned(), "image".to_owned()), ("m".to_owned(), "image".to_owned())].into(),
            exposed_ports: ["2/udp".to_owned()].into(),
            ..Default::default()
        };
        let m = merge(&user, &image).unwrap();
        assert_eq!(m.env, words(&["A=1", "B=2", "C=3"]));
        assert_eq!(
            (m.user.as_str(), m.working_dir.as_str(), m.stop_signal.as_deref()),
            ("nobody", "/w", Some("SIGINT"))
        );
        let health = m.healthcheck.unwrap();
        assert_eq!((health.test, health.interval, health.retries), (words(&["CMD", "x"]), 7_000_000, 2));
        assert_eq!(m.labels["l"], "user");
        assert_eq!(m.labels["m"], "image");
        assert_eq!(m.exposed_ports.len(), 2);
    }

    #[test]
    fn environment_order_and_removal() {
        let config = ContainerConfig { tty: true, env: words(&["PATH=/x", "TERM", "A=1"]), ..Default::default() };
        assert_eq!(environment(&config, "h", "/root"), words(&["PATH=/x", "HOSTNAME=h", "A=1", "HOME=/root"]));
        let config = ContainerConfig { env: words(&["HOME=/h"]), ..Default::default() };
        let env = environment(&config, "h", "/root");
        assert_eq!(env.last().unwrap(), "HOME=/h");
        assert!(env[0].starts_with("PATH=/usr/local/sbin:"));
    }
}
