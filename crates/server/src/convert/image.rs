//! What is said about images. Which of them a list shows is in [`super::image_list`].

use super::{or_null, time};
use crate::request::Query;
use dhow_api as api;
use dhow_api::ApiVersion;
use dhow_engine::view::{ImageRemoved, ImageView, LoadEvent};
use dhow_types::image::RunConfig;
use dhow_types::{Context, Error, Platform, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One image of `GET /images/json`.
pub(crate) fn summary(view: ImageView, version: ApiVersion) -> api::ImageSummary {
    let unnamed = version < ApiVersion::new(1, 43) && view.tags.is_empty() && view.digests.is_empty();
    let names = |names: Vec<String>, none: &str| if unnamed { vec![none.to_owned()] } else { names };
    let size = size(view.size);
    api::ImageSummary {
        // "Not counted", until 1.50.
        containers: match version < ApiVersion::new(1, 51) {
            true => -1,
            false => i64::try_from(view.containers).unwrap_or(i64::MAX),
        },
        created: view.created.map_or(0, Timestamp::as_second),
        id: view.id.to_string(),
        labels: or_null(view.labels),
        parent_id: view.parent.map_or_else(String::new, |id| id.to_string()),
        descriptor: None,
        repo_digests: names(view.digests, "<none>@<none>"),
        repo_tags: names(view.tags, "<none>:<none>"),
        shared_size: -1,
        last_used: view.last_used.map_or(0, Timestamp::as_second),
        damaged: view.damaged.unwrap_or_default(),
        size,
        virtual_size: if version < ApiVersion::new(1, 44) { size } else { 0 },
    }
}

/// The parts of an image's own document that inspect shows. Names differ in their first letter only
/// between this document and the API's, but only there, so the inner `config` is read as it is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    architecture: String,
    variant: Option<String>,
    os: String,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    config: Option<api::ImageConfig>,
    history: Option<Vec<History>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct History {
    comment: Option<String>,
}

/// The answer to `GET /images/{name}/json`. Until 1.49 its `Config` had all fields of a container's, most without meaning,
/// and stood at the end.
#[derive(Serialize)]
pub(crate) struct Inspect {
    #[serde(flatten)]
    image: api::ImageInspect,
    #[serde(rename = "Config", skip_serializing_if = "Option::is_none")]
    legacy_config: Option<LegacyConfig>,
}

impl Inspect {
    /// Of an image that is in no store here: nobody keeps its layers.
    pub(crate) fn of_nowhere(mut self) -> Self {
        self.image.graph_driver = api::GraphDriver::default();
        self.image.metadata = api::ImageMetadata::default();
        self
    }
}

/// What is to be said about an image.
pub(crate) fn inspect(view: ImageView, version: ApiVersion) -> Result<Inspect> {
    let document: Document = match &view.document {
        Some(bytes) => serde_json::from_slice(bytes)
            .map_err(|e| Error::new(dhow_types::ErrorKind::DataLoss, e.to_string()))
            .with_context(|| format!("read the configuration of image {}", view.id))?,
        None => Document::default(),
    };
    let size = size(view.size);
    let last_comment = document.history.unwrap_or_default().pop().and_then(|step| step.comment);
    let config = document.config.unwrap_or_default();
    let (config, legacy_config) = match version < ApiVersion::new(1, 50) {
        true => (None, Some(LegacyConfig::from(config))),
        false => (Some(config), None),
    };
    let before_1_52 = version < ApiVersion::new(1, 52);
    let image = api::ImageInspect {
        id: view.id.to_string(),
        parent: before_1_52.then(|| view.parent.map_or_else(String::new, |id| id.to_string())),
        docker_version: before_1_52.then(String::new),
        repo_tags: view.tags,
        repo_digests: view.digests,
        comment: document.comment.or(last_comment).unwrap_or_default(),
        created: view.created.map_or_else(String::new, |at| time(Some(at))),
        author: document.author.unwrap_or_default(),
        config,
        architecture: document.architecture,
        variant: document.variant.unwrap_or_default(),
        os: document.os,
        os_version: document.os_version.unwrap_or_default(),
        size,
        virtual_size: if version < ApiVersion::new(1, 44) { size } else { 0 },
        graph_driver: api::GraphDriver { data: or_null(view.graph), name: super::container::DRIVER.to_owned() },
        root_fs: api::RootFs {
            r#type: "layers".to_owned(),
            layers: view.layers.iter().map(ToString::to_string).collect(),
        },
        metadata: api::ImageMetadata {
            last_tag_time: time(view.last_tagged),
            last_used: view.last_used.map_or_else(String::new, |at| time(Some(at))),
        },
        descriptor: None,
    };
    Ok(Inspect { image, legacy_config })
}

/// An image's `Config` in the form of a container's.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LegacyConfig {
    hostname: String,
    domainname: String,
    user: String,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exposed_ports: Option<BTreeMap<String, api::Empty>>,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: Option<Vec<String>>,
    cmd: Option<api::Words>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<api::HealthConfig>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    args_escaped: bool,
    image: String,
    volumes: Option<BTreeMap<String, api::Empty>>,
    working_dir: String,
    entrypoint: Option<api::Words>,
    on_build: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<api::Words>,
}

impl From<api::ImageConfig> for LegacyConfig {
    fn from(config: api::ImageConfig) -> Self {
        let api::ImageConfig {
            user,
            exposed_ports,
            env,
            entrypoint,
            cmd,
            volumes,
            working_dir,
            labels,
            stop_signal,
            args_escaped,
            healthcheck,
            on_build,
            shell,
        } = config;
        Self {
            user,
            exposed_ports,
            env,
            entrypoint,
            cmd,
            volumes,
            working_dir,
            labels,
            stop_signal,
            args_escaped,
            healthcheck,
            on_build,
            shell,
            ..Self::default()
        }
    }
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// One thing that a removal did.
pub(crate) fn removed(done: ImageRemoved) -> api::ImageDeleteItem {
    match done {
        ImageRemoved::Untagged(untagged) => api::ImageDeleteItem { untagged, ..Default::default() },
        ImageRemoved::Deleted(digest) => api::ImageDeleteItem { deleted: digest.to_string(), ..Default::default() },
    }
}

/// One line of progress of a load; `None` for what `quiet` leaves out.
pub(crate) fn load_line(event: LoadEvent, quiet: bool) -> Option<api::JsonMessage> {
    Some(match event {
        LoadEvent::Progress { .. } if quiet => return None,
        LoadEvent::Progress { id, current, total } => api::JsonMessage {
            status: "Loading layer".to_owned(),
            id,
            progress_detail: Some(api::ProgressDetail {
                current: size(current),
                total: size(total),
                ..Default::default()
            }),
            ..Default::default()
        },
        LoadEvent::Loaded { reference: Some(name), .. } => api::JsonMessage::stream(format!("Loaded image: {name}\n")),
        LoadEvent::Loaded { reference: None, id } => api::JsonMessage::stream(format!("Loaded image ID: {id}\n")),
        LoadEvent::Failed(error) => api::JsonMessage::error(error.text()),
    })
}

/// The one platform that was asked for, as JSON, if any. Clients before API 1.48 have no such parameter.
pub(crate) fn platform(query: &Query, version: ApiVersion) -> Result<Option<Platform>> {
    platform_in(query, "platform", version)
}

/// The same in another parameter.
pub(crate) fn platform_in(query: &Query, name: &str, version: ApiVersion) -> Result<Option<Platform>> {
    let mut given = query.all(name);
    let text = match (given.next(), given.next()) {
        _ if version < ApiVersion::new(1, 48) => return Ok(None),
        (None, _) => return Ok(None),
        (Some(text), None) => text,
        (Some(_), Some(_)) => {
            return Err(Error::invalid("multiple platform parameters are not supported: an image here is for one"));
        }
    };
    let asked: api::OciPlatform = serde_json::from_str(text)
        .map_err(|e| Error::invalid(e.to_string()))
        .with_context(|| format!("failed to parse platform {text:?}"))?;
    match (asked.os.as_str(), asked.architecture.as_str()) {
        ("", "") => Err(Error::invalid("platform is empty: give its os and architecture")),
        ("", _) | (_, "") => Err(Error::invalid("both OS and Architecture must be provided")),
        (os, architecture) => Ok(Some(Platform::new(os, architecture, &asked.variant))),
    }
}

/// The configuration that came with a commit; none if nothing in it was set. What belongs to a container alone is left
/// out of images, as in Docker.
pub(crate) fn run_config(body: Option<api::ContainerConfig>) -> Result<Option<RunConfig>> {
    match body {
        Some(config) if config != api::ContainerConfig::default() => {
            let config = super::config::to_engine(config)?;
            Ok(Some(dhow_engine::plan::image::of_container(&config)))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::Digest;
    use serde_json::json;

    fn image(name: &str, created: i64) -> ImageView {
        ImageView {
            id: Digest::of(name.as_bytes()),
            tags: if name.is_empty() { vec![] } else { vec![name.to_owned()] },
            digests: vec![],
            parent: None,
            created: Timestamp::from_second(created).ok(),
            size: 7,
            damaged: None,
            shared: 3,
            containers: 2,
            labels: [("team".to_owned(), "sea".to_owned())].into(),
            document: None,
            layers: vec![],
            graph: Default::default(),
            last_tagged: None,
            last_used: None,
        }
    }

    #[test]
    fn shapes_follow_the_version() {
        let old = json!(summary(image("", 1), ApiVersion::new(1, 42)));
        assert_eq!((&old["RepoTags"][0], &old["VirtualSize"]), (&json!("<none>:<none>"), &json!(7)));
        let new = json!(summary(image("", 1), ApiVersion::NEWEST));
        assert_eq!((&new["RepoTags"], new.get("VirtualSize")), (&json!([]), None));
        assert_eq!((&old["Containers"], &new["Containers"], &new["SharedSize"]), (&json!(-1), &json!(2), &json!(-1)));
        let digest = ImageView { digests: vec!["a@sha256:00".into()], ..image("", 1) };
        let known = json!(summary(digest, ApiVersion::new(1, 42)));
        assert_eq!((&known["RepoTags"], &known["RepoDigests"]), (&json!([]), &json!(["a@sha256:00"])));
        let document = br#"{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"]},"history":[{"comment":"c"}]}"#;
        let view = || ImageView { document: Some(document[..].into()), ..image("a:1", 1) };
        let new = json!(inspect(view(), ApiVersion::NEWEST).unwrap());
        assert_eq!((&new["Config"], &new["Comment"]), (&json!({"Cmd": ["sh"]}), &json!("c")));
        let old = json!(inspect(view(), ApiVersion::new(1, 44)).unwrap());
        assert_eq!(
            (&old["Config"]["Tty"], &old["Config"]["Cmd"], &old["Parent"]),
            (&json!(false), &json!(["sh"]), &json!(""))
        );
        assert!(inspect(ImageView { document: Some(b"{"[..].into()), ..image("a", 1) }, ApiVersion::NEWEST).is_err());
    }
}
