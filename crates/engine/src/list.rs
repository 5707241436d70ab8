//! Which containers a list shows.

use crate::config::ListRequest;
use crate::view::{ContainerView, Status};
use dhow_types::{Digest, Error, Result};
use std::collections::BTreeMap;

/// What the filters need to know beside the containers.
pub(crate) struct Context<'a> {
    /// Finds the container that `before` and `since` name.
    pub(crate) find: &'a dyn Fn(&str) -> Result<jiff::Timestamp>,
    /// The id of the image that `ancestor` names, if there is one, and its ancestors' ids.
    pub(crate) image: &'a dyn Fn(&str) -> Option<Digest>,
}

const KNOWN: [&str; 14] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
];

/// The containers that pass, newest first, with the limit applied.
pub(crate) fn select(
    mut all: Vec<ContainerView>,
    request: &ListRequest,
    context: &Context<'_>,
) -> Result<Vec<ContainerView>> {
    check(&request.filters)?;
    all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    // Docker shows all states as soon as one is asked for, or a number.
    let any_state =
        request.all || request.limit.is_some() || request.filters.keys().any(|k| k == "status" || k == "exited");
    let mut out = Vec::new();
    for c in all {
        if (any_state || c.state.status.is_up()) && passes(&c, &request.filters, context)? {
            out.push(c);
        }
    }
    if let Some(limit) = request.limit.filter(|n| *n > 0) {
        out.truncate(limit);
    }
    Ok(out)
}

fn check(filters: &BTreeMap<String, Vec<String>>) -> Result<()> {
    for (key, values) in filters {
        if key == "volume" {
            continue;
        }
        if !KNOWN.contains(&key.as_str()) {
            return Err(Error::invalid(format!("invalid filter '{key}'")));
        }
        for value in values {
            let bad = || Error::invalid(format!("invalid filter '{key}={value}'"));
            match key.as_str() {
                "status"
                    if !["created", "restarting", "running", "removing", "paused", "exited", "dead"]
                        .contains(&value.as_str()) =>
                {
                    return Err(bad());
                }
                "exited" => drop(value.parse::<i32>().map_err(|_| bad())?),
                "health" if !["none", "starting", "healthy", "unhealthy"].contains(&value.as_str()) => {
                    return Err(bad());
                }
                "is-task" if !["true", "false", "0", "1"].contains(&value.as_str()) => return Err(bad()),
                _ => {}
            }
        }
    }
    Ok(())
}

fn passes(c: &ContainerView, filters: &BTreeMap<String, Vec<String>>, context: &Context<'_>) -> Result<bool> {
    for (key, values) in filters {
        let any = |f: &dyn Fn(&str) -> bool| values.iter().any(|v| f(v));
        let ok = match key.as_str() {
            "id" => any(&|v| c.id.as_str().starts_with(v)),
            "name" => any(&|v| matches(v, &c.name)),
            // All labels must be there.
            "label" => values.iter().all(|v| match v.split_once('=') {
                Some((k, v)) => c.config.labels.get(k).is_some_and(|l| l == v),
                None => c.config.labels.contains_key(v),
            }),
            "status" => any(&|v| v == c.state.as_str()),
            "exited" => c.state.status == Status::Exited && any(&|v| v.parse() == Ok(c.state.exit_code)),
            "ancestor" => any(&|v| {
                let image = (context.image)(v);
                (image.is_some() && image == c.image) || c.config.image == v
            }),
            "before" => {
                values.iter().map(|v| (context.find)(v)).collect::<Result<Vec<_>>>()?.iter().all(|t| c.created < *t)
            }
            "since" => {
                values.iter().map(|v| (context.find)(v)).collect::<Result<Vec<_>>>()?.iter().all(|t| c.created > *t)
            }
            "volume" => any(&|v| c.mounts.iter().any(|m| m.name == v || m.destination == v || m.source == v)),
            "network" => any(&|v| {
                c.network.endpoints.iter().any(|(name, e)| name == v || (!v.is_empty() && e.network_id.starts_with(v)))
            }),
            "publish" | "expose" => any(&|v| {
                let wanted = if v.contains('/') { v.to_owned() } else { format!("{v}/tcp") };
                match key.as_str() {
                    "expose" => c.config.exposed_ports.contains(&wanted),
                    _ => c.network.ports.get(&wanted).is_some_and(Option::is_some),
                }
            }),
            "health" => {
                let health = c.state.health.as_ref().map_or("none", |h| h.status.as_str());
                any(&|v| v == health)
            }
            "isolation" => any(&|v| matches!(v, "default" | "")),
            "is-task" => any(&|v| matches!(v, "false" | "0")),
            _ => false,
        };
        if !ok {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Docker takes a regular expression; the parts in use are a plain piece of the name, `^` and `$`, and a slash before
/// the name.
fn matches(pattern: &str, name: &str) -> bool {
    let (start, rest) = pattern.strip_prefix('^').map_or((false, pattern), |r| (true, r));
    let (end, rest) = rest.strip_suffix('$').map_or((false, rest), |r| (true, r));
    let (start, rest) = rest.strip_prefix('/').map_or((start, rest), |r| (true, r));
    match (start, end) {
        (true, true) => name == rest,
        (true, false) => name.starts_with(rest),
        (false, true) => name.ends_with(rest),
        (false, false) => name.contains(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (pattern, name, want) in [
            ("eb", "web", true),
            ("^web$", "web1", false),
            ("^/web$", "web", true),
            ("/web", "web1", true),
            ("^eb", "web", false),
            ("b$", "web", true),
            ("", "web", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn unknown_filters_are_refused() {
        let filter = |k: &str, v: &str| check(&[(k.to_owned(), vec![v.to_owned()])].into());
        assert!(filter("nope", "x").unwrap_err().text().contains("invalid filter 'nope'"));
        assert!(filter("status", "sleeping").is_err());
        assert!(filter("exited", "x").is_err());
        assert!(filter("status", "exited").is_ok());
    }
}
