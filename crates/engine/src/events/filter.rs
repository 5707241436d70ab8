//! Which events a subscriber wants: Docker's filters (moby, `daemon/events/filter.go`), and no others.

use super::Event;
use dhow_types::{Error, Reference, Result};
use std::collections::BTreeMap;

/// Names that a filter may have. Those of Swarm match nothing here.
const NAMES: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];
/// Kinds whose filter is a beginning of the id or of the name.
const FUZZY: [&str; 9] = ["daemon", "container", "plugin", "volume", "network", "node", "service", "secret", "config"];
/// Actions that go on with a colon and words.
const WITH_WORDS: [&str; 3] = ["health_status", "exec_create", "exec_start"];

/// Filters: all names must match, of one name's values one (of labels all).
#[derive(Clone, Debug, Default)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// From names and values. Fails for a name that Docker has not.
    pub fn new(filters: BTreeMap<String, Vec<String>>) -> Result<Self> {
        match filters.keys().find(|name| !NAMES.contains(&name.as_str())) {
            Some(name) => Err(Error::invalid(format!("invalid filter '{name}': want one of {}", NAMES.join(", ")))),
            None => Ok(Self(filters)),
        }
    }

    /// Whether it is wanted.
    pub(super) fn pass(&self, event: &Event) -> bool {
        let attribute = |name: &str| event.attributes.get(name).map_or("", String::as_str);
        self.event(&event.action)
            && self.exact("type", &event.kind)
            && self.exact("scope", "local")
            && FUZZY.iter().all(|kind| self.fuzzy(kind, &event.id) || self.fuzzy(kind, attribute("name")))
            && self.image(event, attribute(if event.kind == "image" { "name" } else { "image" }))
            && self.labels(&event.attributes)
    }

    fn values(&self, name: &str) -> Option<&[String]> {
        self.0.get(name).map(Vec::as_slice).filter(|values| !values.is_empty())
    }

    fn exact(&self, name: &str, text: &str) -> bool {
        self.values(name).is_none_or(|values| values.iter().any(|v| v == text))
    }

    fn fuzzy(&self, name: &str, text: &str) -> bool {
        self.values(name).is_none_or(|values| values.iter().any(|v| text.starts_with(v.as_str())))
    }

    fn event(&self, action: &str) -> bool {
        let words = self.values("event").is_some_and(|v| v.iter().any(|v| WITH_WORDS.contains(&v.as_str())));
        if words { self.fuzzy("event", action) } else { self.exact("event", action) }
    }

    fn image(&self, event: &Event, name: &str) -> bool {
        let Some(_) = self.values("image") else { return true };
        [&event.id, name].into_iter().any(|text| self.exact("image", text) || self.exact("image", &without_tag(text)))
    }

    fn labels(&self, attributes: &BTreeMap<String, String>) -> bool {
        let Some(wanted) = self.values("label") else { return true };
        wanted.iter().all(|label| match label.split_once('=') {
            Some((key, value)) => attributes.get(key).is_some_and(|v| v == value),
            None => attributes.contains_key(label),
        })
    }
}

fn without_tag(text: &str) -> String {
    match text.parse::<Reference>() {
        Ok(reference) => {
            let familiar = reference.familiar();
            let name = familiar.split_once('@').map_or(familiar.as_str(), |(name, _)| name);
            // A colon in the last part of the path begins the tag; one before is a port.
            let tag = name.rfind(':').filter(|at| !name[*at..].contains('/'));
            name[..tag.unwrap_or(name.len())].to_owned()
        }
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Event { kind: kind.into(), action: action.into(), id: id.into(), attributes, time: 1, number: 1 }
    }

    #[test]
    fn as_docker_filters() {
        let start = event("container", "start", "abcdef", &[("name", "web"), ("image", "reg:5000/a/b:1"), ("k", "v")]);
        let exec = event("container", "exec_start: sh -c x", "abcdef", &[("name", "web"), ("image", "busybox:latest")]);
        let tag = event("image", "tag", "sha256:12", &[("name", "busybox:9")]);
        let volume = event("volume", "create", "data", &[("driver", "local")]);
        for (filters, of_start, of_exec, of_tag, of_volume) in [
            (vec![], true, true, true, true),
            (vec!["type=container"], true, true, false, false),
            (vec!["type=container", "type=image"], true, true, true, false),
            (vec!["event=start"], true, false, false, false),
            (vec!["event=exec_start"], false, true, false, false),
            (vec!["event=exec_start: sh -c x"], false, true, false, false),
            (vec!["event=star"], false, false, false, false),
            (vec!["event=exec_start", "event=start"], true, true, false, false),
            (vec!["container=abc"], true, true, false, false),
            (vec!["container=we"], true, true, false, false),
            (vec!["container=eb"], false, false, false, false),
            (vec!["volume=da"], false, false, false, true),
            (vec!["image=reg:5000/a/b"], true, false, false, false),
            (vec!["image=reg:5000/a/b:1"], true, false, false, false),
            (vec!["image=busybox"], false, true, true, false),
            (vec!["image=sha256:12"], false, false, true, false),
            (vec!["label=k"], true, false, false, false),
            (vec!["label=k=v", "label=name"], true, false, false, false),
            (vec!["label=k=w"], false, false, false, false),
            (vec!["scope=local"], true, true, true, true),
            (vec!["scope=swarm"], false, false, false, false),
            (vec!["daemon=x"], false, false, false, false),
            (vec!["type=image", "event=start"], false, false, false, false),
        ] {
            let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for text in &filters {
                let (name, value) = text.split_once('=').unwrap();
                map.entry(name.into()).or_default().push(value.into());
            }
            let parsed = Filters::new(map).unwrap();
            let got = [&start, &exec, &tag, &volume].map(|e| parsed.pass(e));
            assert_eq!(got, [of_start, of_exec, of_tag, of_volume], "{filters:?}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        let e = Filters::new(BTreeMap::from([("nope".to_owned(), vec!["x".to_owned()])])).unwrap_err();
        assert!(e.text().starts_with("invalid filter 'nope'"), "{e}");
    }
}
