//! One table of all routes of Docker's daemon: those that are built, and those that are refused by name.

/// An operation that is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after the operations of the swagger file")]
pub(crate) enum Route {
    Ping,
    Version,
    Info,
    ContainerList,
    ContainerCreate,
    ContainerInspect,
    ContainerLogs,
    ContainerStart,
    ContainerStop,
    ContainerKill,
    ContainerRestart,
    ContainerPause,
    ContainerUnpause,
    ContainerRename,
    ContainerUpdate,
    ContainerTop,
    ContainerStats,
    ContainerResize,
    ContainerAttach,
    ContainerWait,
    ContainerDelete,
    ContainerExport,
    ContainerChanges,
    ContainerExec,
    ExecStart,
    ExecResize,
    ExecInspect,
    ImageList,
    ImageInspect,
    ImageHistory,
    ImageDiff,
    ImageTree,
    RemoteInspect,
    RemoteCheck,
    RemoteCopy,
    ManifestRead,
    ManifestPush,
    ImageTag,
    ImageDelete,
    ImageLoad,
    ImageSave,
    ImageSaveSeveral,
    ImageCreate,
    ImagePush,
    ImageSearch,
    Auth,
    Distribution,
    Commit,
    NetworkList,
    NetworkInspect,
    DhowCheck,
    Events,
    SystemDf,
    ImagePrune,
    ContainerPrune,
    VolumePrune,
    NetworkPrune,
    BuildPrune,
}

/// What a method and a path lead to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// An operation, and the name or id in the path (still encoded), if it has one.
    Built(Route, &'a str),
    /// A route that Docker has, by its pattern.
    Unbuilt(&'static str),
    /// Nothing that Docker has, either.
    Unknown,
}

/// `{id}` stands for one word, `{name}` for one or more with slashes between.
const BUILT: &[(&str, &str, Route)] = &[
    ("GET", "/_ping", Route::Ping),
    ("HEAD", "/_ping", Route::Ping),
    ("GET", "/version", Route::Version),
    ("GET", "/info", Route::Info),
    ("GET", "/containers/json", Route::ContainerList),
    ("POST", "/containers/create", Route::ContainerCreate),
    ("GET", "/containers/{id}/json", Route::ContainerInspect),
    ("GET", "/containers/{id}/logs", Route::ContainerLogs),
    ("POST", "/containers/{id}/start", Route::ContainerStart),
    ("POST", "/containers/{id}/stop", Route::ContainerStop),
    ("POST", "/containers/{id}/kill", Route::ContainerKill),
    ("POST", "/containers/{id}/restart", Route::ContainerRestart),
    ("POST", "/containers/{id}/pause", Route::ContainerPause),
    ("POST", "/containers/{id}/unpause", Route::ContainerUnpause),
    ("POST", "/containers/{id}/rename", Route::ContainerRename),
    ("POST", "/containers/{id}/update", Route::ContainerUpdate),
    ("GET", "/containers/{id}/top", Route::ContainerTop),
    ("GET", "/containers/{id}/stats", Route::ContainerStats),
    ("POST", "/containers/{id}/resize", Route::ContainerResize),
    ("POST", "/containers/{id}/attach", Route::ContainerAttach),
    ("POST", "/containers/{id}/wait", Route::ContainerWait),
    ("DELETE", "/containers/{id}", Route::ContainerDelete),
    ("GET", "/containers/{id}/export", Route::ContainerExport),
    ("GET", "/containers/{id}/changes", Route::ContainerChanges),
    ("POST", "/containers/{id}/exec", Route::ContainerExec),
    ("POST", "/exec/{id}/start", Route::ExecStart),
    ("POST", "/exec/{id}/resize", Route::ExecResize),
    ("GET", "/exec/{id}/json", Route::ExecInspect),
    ("GET", "/images/json", Route::ImageList),
    ("GET", "/images/{name}/json", Route::ImageInspect),
    ("GET", "/images/{name}/history", Route::ImageHistory),
    ("GET", "/dhow/images/diff", Route::ImageDiff),
    ("GET", "/dhow/images/tree", Route::ImageTree),
    ("GET", "/dhow/images/remote", Route::RemoteInspect),
    ("GET", "/dhow/images/check", Route::RemoteCheck),
    ("POST", "/dhow/images/copy", Route::RemoteCopy),
    ("GET", "/dhow/manifests", Route::ManifestRead),
    ("POST", "/dhow/manifests", Route::ManifestPush),
    ("POST", "/images/{name}/tag", Route::ImageTag),
    ("DELETE", "/images/{name}", Route::ImageDelete),
    ("POST", "/images/load", Route::ImageLoad),
    ("GET", "/images/get", Route::ImageSaveSeveral),
    ("POST", "/images/create", Route::ImageCreate),
    ("POST", "/images/{name}/push", Route::ImagePush),
    ("GET", "/images/search", Route::ImageSearch),
    ("POST", "/auth", Route::Auth),
    ("GET", "/distribution/{name}/json", Route::Distribution),
    ("POST", "/commit", Route::Commit),
    ("GET", "/images/{name}/get", Route::ImageSave),
    ("GET", "/networks", Route::NetworkList),
    ("GET", "/networks/{id}", Route::NetworkInspect),
    ("POST", "/dhow/check", Route::DhowCheck),
    ("GET", "/events", Route::Events),
    ("GET", "/system/df", Route::SystemDf),
    ("POST", "/images/prune", Route::ImagePrune),
    ("POST", "/containers/prune", Route::ContainerPrune),
    ("POST", "/volumes/prune", Route::VolumePrune),
    ("POST", "/networks/prune", Route::NetworkPrune),
    ("POST", "/build/prune", Route::BuildPrune),
];

const UNBUILT: &[(&str, &str)] = &[
    ("GET", "/containers/{id}/attach/ws"),
    ("HEAD", "/containers/{id}/archive"),
    ("GET", "/containers/{id}/archive"),
    ("PUT", "/containers/{id}/archive"),
    ("GET", "/containers/{id}/checkpoints"),
    ("POST", "/containers/{id}/checkpoints"),
    ("DELETE", "/containers/{id}/checkpoints/{id}"),
    ("POST", "/build"),
    ("POST", "/build/cancel"),
    ("GET", "/images/{name}/attestations"),
    ("GET", "/volumes"),
    ("POST", "/volumes/create"),
    ("GET", "/volumes/{name}"),
    ("PUT", "/volumes/{name}"),
    ("DELETE", "/volumes/{name}"),
    ("DELETE", "/networks/{id}"),
    ("POST", "/networks/create"),
    ("POST", "/networks/{id}/connect"),
    ("POST", "/networks/{id}/disconnect"),
    ("GET", "/plugins"),
    ("GET", "/plugins/privileges"),
    ("POST", "/plugins/pull"),
    ("POST", "/plugins/create"),
    ("GET", "/plugins/{name}/json"),
    ("DELETE", "/plugins/{name}"),
    ("POST", "/plugins/{name}/enable"),
    ("POST", "/plugins/{name}/disable"),
    ("POST", "/plugins/{name}/upgrade"),
    ("POST", "/plugins/{name}/push"),
    ("POST", "/plugins/{name}/set"),
    ("GET", "/nodes"),
    ("GET", "/nodes/{id}"),
    ("DELETE", "/nodes/{id}"),
    ("POST", "/nodes/{id}/update"),
    ("GET", "/swarm"),
    ("POST", "/swarm/init"),
    ("POST", "/swarm/join"),
    ("POST", "/swarm/leave"),
    ("POST", "/swarm/update"),
    ("GET", "/swarm/unlockkey"),
    ("POST", "/swarm/unlock"),
    ("GET", "/services"),
    ("POST", "/services/create"),
    ("GET", "/services/{id}"),
    ("DELETE", "/services/{id}"),
    ("POST", "/services/{id}/update"),
    ("GET", "/services/{id}/logs"),
    ("GET", "/tasks"),
    ("GET", "/tasks/{id}"),
    ("GET", "/tasks/{id}/logs"),
    ("GET", "/secrets"),
    ("POST", "/secrets/create"),
    ("GET", "/secrets/{id}"),
    ("DELETE", "/secrets/{id}"),
    ("POST", "/secrets/{id}/update"),
    ("GET", "/configs"),
    ("POST", "/configs/create"),
    ("GET", "/configs/{id}"),
    ("DELETE", "/configs/{id}"),
    ("POST", "/configs/{id}/update"),
    ("POST", "/session"),
    ("POST", "/grpc"),
    ("GET", "/debug/vars"),
    ("GET", "/debug/pprof/{name}"),
];

/// Finds the route of `path`, which has lost its version.
pub(crate) fn find<'a>(method: &str, path: &'a str) -> Found<'a> {
    let built = BUILT.iter().filter(|(m, ..)| *m == method);
    if let Some((route, name)) = built.filter_map(|(_, pattern, r)| Some((*r, fit(pattern, path)?))).next() {
        return Found::Built(route, name);
    }
    match UNBUILT.iter().find(|(m, pattern)| *m == method && fit(pattern, path).is_some()) {
        Some((_, pattern)) => Found::Unbuilt(pattern),
        None => Found::Unknown,
    }
}

/// The first name in `path` if `pattern` fits, empty if the pattern has none.
fn fit<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, rest)) = pattern.split_once('{') else { return (pattern == path).then_some("") };
    let (kind, after) = rest.split_once('}')?;
    let tail = path.strip_prefix(before)?;
    let name = match kind {
        "name" => tail.strip_suffix(after)?,
        _ => {
            let (name, rest) = tail.split_at(tail.find('/').unwrap_or(tail.len()));
            fit(after, rest)?;
            name
        }
    };
    (!name.is_empty() && !name.starts_with('/')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn names_in_paths() {
        for (method, path, found) in [
            ("GET", "/containers/json", Found::Built(Route::ContainerList, "")),
            ("GET", "/containers/abc/json", Found::Built(Route::ContainerInspect, "abc")),
            ("GET", "/containers//json", Found::Unknown),
            ("GET", "/containers/a/b/json", Found::Unknown),
            ("GET", "/images/json", Found::Built(Route::ImageList, "")),
            ("GET", "/images/a/json", Found::Built(Route::ImageInspect, "a")),
            ("GET", "/images/reg.io:5000/a/b:1/json", Found::Built(Route::ImageInspect, "reg.io:5000/a/b:1")),
            ("DELETE", "/images/a/b:1", Found::Built(Route::ImageDelete, "a/b:1")),
            ("POST", "/images/load", Found::Built(Route::ImageLoad, "")),
            ("POST", "/images/a/b/push", Found::Built(Route::ImagePush, "a/b")),
            ("POST", "/containers/x/pause", Found::Built(Route::ContainerPause, "x")),
            ("POST", "/containers/x/update", Found::Built(Route::ContainerUpdate, "x")),
            ("DELETE", "/containers/x/checkpoints/y", Found::Unbuilt("/containers/{id}/checkpoints/{id}")),
            ("HEAD", "/_ping", Found::Built(Route::Ping, "")),
            ("PUT", "/_ping", Found::Unknown),
            ("GET", "/", Found::Unknown),
            ("GET", "*", Found::Unknown),
            ("GET", "", Found::Unknown),
        ] {
            assert_eq!(find(method, path), found, "{method} {path}");
        }
    }

    /// Every operation of the swagger file is answered: done, or refused by its own name.
    #[test]
    fn every_operation_of_docker_is_known() {
        let swagger: Value = serde_json::from_str(include_str!("../../api/tests/swagger-fields.json")).unwrap();
        let operations = swagger["operations"].as_array().unwrap();
        assert!(operations.len() > 100);
        for operation in operations {
            let (method, pattern) = (operation["method"].as_str().unwrap(), operation["path"].as_str().unwrap());
            match find(method, &pattern.replace("{id}", "x").replace("{name}", "x")) {
                Found::Built(route, name) => {
                    let exact = BUILT.iter().any(|(m, p, r)| (*m, *p, *r) == (method, pattern, route));
                    assert!(exact, "{method} {pattern} leads to {route:?}");
                    assert_eq!(name == "x", pattern.contains('{'), "{method} {pattern}");
                }
                Found::Unbuilt(found) => assert_eq!(found, pattern, "{method} {pattern}"),
                Found::Unknown => panic!("{method} {pattern} is not in the table"),
            }
        }
    }
}
