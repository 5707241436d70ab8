//! What an image that is made here says: of a container (`commit`), or of an archive (`import`).
//!
//! Rules: API v1.56, `POST /commit` and `POST /images/create`, and what Docker's images of either look like.

use super::changes;
use crate::config::{ContainerConfig, HealthConfig};
use dhow_store::NewDocument;
use dhow_types::image::{Empty, Healthcheck, History, RunConfig};
use dhow_types::{Error, ImageConfig, Platform, Reference, Result};
use std::collections::BTreeSet;

/// The name for a new image, none if none was given. `tag` counts more than a tag in `repository`.
pub fn name(repository: &str, tag: &str) -> Result<Option<Reference>> {
    if repository.is_empty() {
        return match tag {
            "" => Ok(None),
            _ => Err(Error::invalid(format!("a tag ({tag}) without a repository: name both"))),
        };
    }
    let name: Reference = repository.parse()?;
    if name.digest().is_some() {
        return Err(Error::invalid("cannot import digest reference: give a name with a tag, or without one"));
    }
    Ok(Some(if tag.is_empty() { name.or_latest() } else { name.with_tag(tag)? }))
}

/// What of a container's configuration belongs to an image.
pub fn of_container(config: &ContainerConfig) -> RunConfig {
    let set = |set: &BTreeSet<String>| set.iter().map(|key| (key.clone(), Empty {})).collect();
    RunConfig {
        user: config.user.clone(),
        exposed_ports: set(&config.exposed_ports),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone().unwrap_or_default(),
        cmd: config.cmd.clone().unwrap_or_default(),
        volumes: set(&config.volumes),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        stop_timeout: config.stop_timeout,
        healthcheck: config.healthcheck.as_ref().map(health),
        on_build: config.on_build.clone(),
        shell: config.shell.clone().unwrap_or_default(),
        args_escaped: false,
    }
}

fn health(check: &HealthConfig) -> Healthcheck {
    let HealthConfig { test, interval, timeout, retries, start_period, start_interval } = check.clone();
    Healthcheck { test, interval, timeout, start_period, start_interval, retries }
}

/// `asked` with what it leaves open taken from the container.
fn complete(mut asked: RunConfig, own: &RunConfig) -> RunConfig {
    fn text(asked: &mut String, own: &str) {
        if asked.is_empty() {
            *asked = own.to_owned();
        }
    }
    text(&mut asked.user, &own.user);
    text(&mut asked.working_dir, &own.working_dir);
    text(&mut asked.stop_signal, &own.stop_signal);
    asked.exposed_ports.extend(own.exposed_ports.clone());
    asked.volumes.extend(own.volumes.clone());
    for entry in &own.env {
        let name = entry.split('=').next();
        if !asked.env.iter().any(|e| e.split('=').next() == name) {
            asked.env.push(entry.clone());
        }
    }
    for (name, value) in &own.labels {
        asked.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if asked.entrypoint.is_empty() {
        if asked.cmd.is_empty() {
            asked.cmd.clone_from(&own.cmd);
        }
        asked.entrypoint.clone_from(&own.entrypoint);
    }
    asked.healthcheck = match (asked.healthcheck, &own.healthcheck) {
        (None, own) => own.clone(),
        (Some(mut check), Some(own)) => {
            if check.test.is_empty() {
                check.test.clone_from(&own.test);
            }
            for (asked, own) in [
                (&mut check.interval, own.interval),
                (&mut check.timeout, own.timeout),
                (&mut check.start_period, own.start_period),
                (&mut check.start_interval, own.start_interval),
                (&mut check.retries, own.retries),
            ] {
                if *asked == 0 {
                    *asked = own;
                }
            }
            Some(check)
        }
        (check, None) => check,
    };
    asked
}

/// What a commit says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note<'a> {
    /// Who made it.
    pub author: &'a str,
    /// A note.
    pub comment: &'a str,
    /// When, RFC 3339.
    pub created: &'a str,
}

/// The document of a container's image: `asked` (else the container's configuration) with `edits`, completed from the
/// container, on top of its image's document `parent`.
pub fn commit(
    parent: &ImageConfig,
    container: &ContainerConfig,
    asked: Option<RunConfig>,
    edits: &[String],
    note: &Note<'_>,
) -> Result<NewDocument> {
    let own = of_container(container);
    let edited = changes::apply(asked.unwrap_or_else(|| own.clone()), edits)?;
    let config = ImageConfig {
        created: Some(note.created.to_owned()),
        author: note.author.to_owned(),
        architecture: parent.architecture.clone(),
        os: parent.os.clone(),
        variant: parent.variant.clone(),
        os_version: parent.os_version.clone(),
        config: complete(edited, &own),
        history: parent.history.clone(),
        ..ImageConfig::default()
    };
    let step = History {
        created: Some(note.created.to_owned()),
        created_by: own.cmd.join(" "),
        author: note.author.to_owned(),
        comment: note.comment.to_owned(),
        empty_layer: false,
    };
    Ok(NewDocument { config, step, reference: None })
}

/// The document of an imported archive for `platform`.
pub fn import(platform: &Platform, edits: &[String], comment: &str, created: &str) -> Result<NewDocument> {
    let config = ImageConfig {
        created: Some(created.to_owned()),
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        config: changes::apply(RunConfig::default(), edits)?,
        comment: comment.to_owned(),
        ..ImageConfig::default()
    };
    let step = History { created: Some(created.to_owned()), comment: comment.to_owned(), ..History::default() };
    Ok(NewDocument { config, step, reference: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn names_of_new_images() {
        let shown = |r: &str, t: &str| name(r, t).map(|n| n.map(|n| n.familiar()));
        for (repository, tag, want) in [
            ("", "", None),
            ("box", "", Some("box:latest")),
            ("box:v1", "", Some("box:v1")),
            ("box:v1", "v2", Some("box:v2")),
            ("reg.io:5000/a/b", "v2", Some("reg.io:5000/a/b:v2")),
        ] {
            assert_eq!(shown(repository, tag).unwrap().as_deref(), want, "{repository} {tag}");
        }
        let digest = format!("box@sha256:{}", "0".repeat(64));
        for (repository, tag) in [("", "v1"), ("Box", ""), ("box", "a/b"), (digest.as_str(), ""), ("box", "sha256:00")]
        {
            assert!(shown(repository, tag).is_err(), "{repository} {tag}");
        }
    }

    fn container() -> ContainerConfig {
        ContainerConfig {
            hostname: "h".into(),
            env: words(&["A=1", "B=2"]),
            cmd: Some(words(&["sleep", "9"])),
            entrypoint: Some(words(&["e"])),
            labels: [("l".to_owned(), "own".to_owned())].into(),
            exposed_ports: ["80/tcp".to_owned()].into(),
            working_dir: "/w".into(),
            ..ContainerConfig::default()
        }
    }

    fn parent() -> ImageConfig {
        ImageConfig {
            architecture: "arm64".into(),
            os: "linux".into(),
            author: "before".into(),
            history: vec![History { comment: "below".into(), ..History::default() }],
            ..ImageConfig::default()
        }
    }

    #[test]
    fn a_commit_says_what_the_container_was() {
        let note = Note { author: "me", comment: "why", created: "2026-01-01T00:00:00Z" };
        let made = commit(&parent(), &container(), None, &words(&["ENV B=3 C=4", "USER x"]), &note).unwrap();
        assert_eq!(made.config.config.env, words(&["A=1", "B=3", "C=4"]));
        assert_eq!(
            (made.config.config.cmd.join(" "), made.config.config.entrypoint.join(" ")),
            ("sleep 9".into(), "e".into())
        );
        assert_eq!((made.config.architecture.as_str(), made.config.author.as_str()), ("arm64", "me"));
        assert_eq!(made.config.history.len(), 1);
        assert_eq!((made.step.created_by.as_str(), made.step.comment.as_str()), ("sleep 9", "why"));
        // The program of a new entry point gets no old arguments.
        let made = commit(&parent(), &container(), None, &words(&[r#"ENTRYPOINT ["n"]"#]), &note).unwrap();
        assert_eq!((made.config.config.entrypoint, made.config.config.cmd), (words(&["n"]), words(&[])));
    }

    #[test]
    fn a_given_configuration_is_completed() {
        let asked = RunConfig {
            env: words(&["A=x"]),
            labels: [("l".to_owned(), "asked".to_owned())].into(),
            user: "u".into(),
            ..RunConfig::default()
        };
        let made = commit(&parent(), &container(), Some(asked), &[], &Note::default()).unwrap().config.config;
        assert_eq!(made.env, words(&["A=x", "B=2"]));
        assert_eq!((made.labels["l"].as_str(), made.user.as_str(), made.working_dir.as_str()), ("asked", "u", "/w"));
        assert_eq!((made.cmd.join(" "), made.entrypoint.join(" ")), ("sleep 9".into(), "e".into()));
        assert!(made.exposed_ports.contains_key("80/tcp"));
        let asked = RunConfig { cmd: words(&["c"]), ..RunConfig::default() };
        let made = commit(&parent(), &container(), Some(asked), &[], &Note::default()).unwrap().config.config;
        assert_eq!((made.cmd.join(" "), made.entrypoint.join(" ")), ("c".into(), "e".into()));
    }

    #[test]
    fn an_import_says_whence_it_came() {
        let platform: Platform = "linux/arm/v7".parse().unwrap();
        let made = import(&platform, &words(&["CMD [\"sh\"]"]), "Imported from -", "2026-01-01T00:00:00Z").unwrap();
        assert_eq!((made.config.architecture.as_str(), made.config.variant.as_str()), ("arm", "v7"));
        assert_eq!((made.config.config.cmd, made.step.comment.as_str()), (words(&["sh"]), "Imported from -"));
    }
}
