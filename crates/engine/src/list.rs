//! Which containers a list shows. What the filters name (images, other containers) is looked up once for a list, in
//! [`Wanted::read`]; each container is then judged by its record alone, so that a thousand of them cost no look at the
//! store.

use crate::config::ListRequest;
use crate::plan::modes;
use crate::plan::mounts::Source;
use crate::plan::ports;
use crate::record::Record;
use crate::view::Status;
use dhow_types::{Digest, Error, Result};
use jiff::Timestamp;
use regex_lite::{Regex, RegexBuilder};
use std::collections::BTreeSet;

/// Who is asked about what filters name.
pub(crate) struct Context<'a> {
    /// Finds the container that `before` and `since` name.
    pub(crate) find: &'a dyn Fn(&str) -> Result<Timestamp>,
    /// The id of the image that `ancestor` names, if there is one.
    pub(crate) image: &'a dyn Fn(&str) -> Option<Digest>,
}

const KNOWN: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
/// Bytes of a pattern, compiled: the time it takes grows with them.
const MAX_PATTERN: usize = 1 << 20;
const STATES: [&str; 7] = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
const HEALTH: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// A filter that was read: what its key says, of which one value must fit (of labels, `before` and `since` all).
enum Filter {
    Id(Vec<Pattern>),
    Name(Vec<Pattern>),
    Label(Vec<String>),
    Status(Vec<String>),
    Health(Vec<String>),
    Exited(Vec<i32>),
    Ancestor(Vec<(String, Option<Digest>)>),
    Before(Vec<Timestamp>),
    Since(Vec<Timestamp>),
    Volume(Vec<String>),
    Network(Vec<String>),
    /// One of either, as in Docker.
    Ports {
        published: BTreeSet<(u16, String)>,
        exposed: BTreeSet<(u16, String)>,
    },
    /// No container is a task of a swarm.
    Task(bool),
}

/// Text that is there as it is, or fits as a regular expression; one that is none fits as it is alone, as in Docker.
struct Pattern(String, Option<Regex>);

impl Pattern {
    fn new(text: &str) -> Self {
        Self(text.to_owned(), RegexBuilder::new(text).size_limit(MAX_PATTERN).build().ok())
    }
    fn fits(&self, text: &str) -> bool {
        self.0 == text || self.1.as_ref().is_some_and(|r| r.is_match(text))
    }
}

/// What a list is to show.
pub(crate) struct Wanted {
    any_state: bool,
    filters: Vec<Filter>,
}

/// What of a container stands beside its record, and what names its networks.
#[derive(Clone, Copy)]
pub(crate) struct Beside<'a> {
    pub(crate) paused: bool,
    /// The id of the network of a name.
    pub(crate) network_id: &'a dyn Fn(&str) -> String,
}

impl Wanted {
    /// Reads a request, and looks up what its filters name.
    pub(crate) fn read(request: &ListRequest, context: &Context<'_>) -> Result<Self> {
        // Docker shows all states as soon as one is asked for, or a number.
        let asks = request.filters.keys().any(|k| k == "status" || k == "exited");
        let mut filters = Vec::new();
        for (key, values) in &request.filters {
            filters.extend(read(key, values, context)?);
        }
        let ports = |key: &str| request.filters.get(key).map_or(Ok(BTreeSet::new()), |values| port_set(key, values));
        let (published, exposed) = (ports("publish")?, ports("expose")?);
        if !published.is_empty() || !exposed.is_empty() {
            filters.push(Filter::Ports { published, exposed });
        }
        Ok(Self { any_state: request.all || request.limit.is_some() || asks, filters })
    }

    /// Whether a container of that id and name may be among them. What a client wrote is matched here, which may take
    /// long: never under a lock.
    pub(crate) fn fits(&self, id: &str, name: &str) -> bool {
        let slashed = format!("/{name}");
        self.filters.iter().all(|filter| match filter {
            Filter::Id(patterns) => patterns.iter().any(|p| p.fits(id)),
            Filter::Name(patterns) => patterns.iter().any(|p| p.fits(&slashed) || p.fits(name)),
            _ => true,
        })
    }

    /// Whether one that [`Wanted::fits`] is among them.
    pub(crate) fn takes(&self, record: &Record, beside: Beside<'_>) -> bool {
        (self.any_state || record.state.status.is_up()) && self.filters.iter().all(|f| f.passes(record, beside))
    }
}

fn read(key: &str, values: &[String], context: &Context<'_>) -> Result<Option<Filter>> {
    if !KNOWN.contains(&key) {
        return Err(Error::invalid(format!("invalid filter '{key}'")));
    }
    let among = |words: &[&str]| match values.iter().find(|v| !words.contains(&v.as_str())) {
        Some(bad) => Err(Error::invalid(format!("invalid filter '{key}={bad}': use one of {}", words.join(", ")))),
        None => Ok(values.to_vec()),
    };
    let patterns = || values.iter().map(|v| Pattern::new(v)).collect();
    let moments = || values.iter().map(|v| (context.find)(v)).collect::<Result<Vec<_>>>();
    Ok(Some(match key {
        "id" => Filter::Id(patterns()),
        "name" => Filter::Name(patterns()),
        "label" => Filter::Label(values.to_vec()),
        "status" => Filter::Status(among(&STATES)?),
        "health" => Filter::Health(among(&HEALTH)?),
        "exited" => Filter::Exited(
            values
                .iter()
                .map(|v| v.parse().map_err(|_| Error::invalid(format!("invalid filter 'exited={v}': want a number"))))
                .collect::<Result<_>>()?,
        ),
        "ancestor" => Filter::Ancestor(values.iter().map(|v| (v.clone(), (context.image)(v))).collect()),
        "before" => Filter::Before(moments()?),
        "since" => Filter::Since(moments()?),
        "volume" => Filter::Volume(values.to_vec()),
        "network" => Filter::Network(values.to_vec()),
        // Read together.
        "publish" | "expose" => return Ok(None),
        "is-task" => Filter::Task(among(&["true", "false", "1", "0"])?.iter().any(|v| v == "true" || v == "1")),
        // Docker does not look at it on Linux.
        _ => return Ok(None),
    }))
}

/// `80`, `80/udp`, `80-90/tcp`.
fn port_set(key: &str, values: &[String]) -> Result<BTreeSet<(u16, String)>> {
    let mut out = BTreeSet::new();
    for value in values {
        if value.contains(':') {
            return Err(Error::invalid(format!("filter for '{key}' should not contain ':': {value}")));
        }
        let (range, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (Ok(from), Ok(to), true) = (from.parse::<u16>(), to.parse::<u16>(), !protocol.is_empty()) else {
            return Err(Error::invalid(format!(
                "error while looking up for {key} {value}: want PORT, PORT-PORT or one of them with /tcp or /udp"
            )));
        };
        if from > to {
            return Err(Error::invalid(format!("error while looking up for {key} {value}: the range runs backwards")));
        }
        out.extend((from..=to).map(|port| (port, protocol.to_lowercase())));
    }
    Ok(out)
}

impl Filter {
    fn passes(&self, c: &Record, beside: Beside<'_>) -> bool {
        match self {
            // In `fits`.
            Self::Id(_) | Self::Name(_) => true,
            Self::Label(all) => all.iter().all(|wanted| match wanted.split_once('=') {
                Some((k, v)) => c.config.labels.get(k).is_some_and(|has| has == v),
                None => c.config.labels.contains_key(wanted),
            }),
            Self::Status(any) => {
                let state = if beside.paused { "paused" } else { c.state.status.as_str() };
                any.iter().any(|v| v == state)
            }
            Self::Health(any) => {
                let health = c.state.health.as_ref().map_or("none", |h| h.status.as_str());
                any.iter().any(|v| v == health)
            }
            Self::Exited(codes) => {
                !c.state.status.is_up() && c.state.started_at.is_some() && codes.contains(&c.state.exit_code)
            }
            Self::Ancestor(any) => any.iter().any(|(name, id)| {
                (id.is_some() && *id == c.root.image()) || (!name.is_empty() && c.config.image == *name)
            }),
            Self::Before(all) => all.iter().all(|t| c.created < *t),
            Self::Since(all) => all.iter().all(|t| c.created > *t),
            Self::Volume(any) => any.iter().any(|v| {
                c.mounts.iter().any(|(mount, place)| {
                    let name = match &mount.source {
                        Source::Volume { name, .. } => name.as_deref(),
                        _ => None,
                    };
                    mount.destination == *v || name.unwrap_or(place) == v
                })
            }),
            Self::Network(any) => networks(c).is_some_and(|name| {
                // The id is there while it runs.
                let id = (c.state.status == Status::Running).then(|| (beside.network_id)(name));
                any.iter().any(|v| name == v || id.as_ref().is_some_and(|id| !v.is_empty() && id.starts_with(v)))
            }),
            Self::Ports { published, exposed } => {
                published_of(c).any(|port| published.contains(&port))
                    || exposed_of(c).any(|port| exposed.contains(&port))
            }
            Self::Task(wanted) => !wanted,
        }
    }
}

/// The network a container is in; none if it shares another one's.
fn networks(c: &Record) -> Option<&'static str> {
    match modes::network(&c.host.network_mode).unwrap_or(modes::Network::None) {
        _ if c.config.network_disabled => Some("none"),
        modes::Network::Bridge => Some("bridge"),
        modes::Network::None => Some("none"),
        modes::Network::Host => Some("host"),
        modes::Network::Container(_) => None,
    }
}

/// Ports of the machine that lead to a container now.
fn published_of(c: &Record) -> impl Iterator<Item = (u16, String)> + '_ {
    let bound = c.endpoint.iter().flat_map(|e| &e.ports);
    bound.map(|p| (p.host_port, p.protocol.as_str().to_owned()))
}

fn exposed_of(c: &Record) -> impl Iterator<Item = (u16, String)> + '_ {
    let all = ports::exposed(&c.config.exposed_ports).unwrap_or_default();
    all.into_iter().map(|(port, protocol)| (port, protocol.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ContainerConfig, HostConfig};
    use crate::record::{New, Root};
    use dhow_types::ContainerId;
    use std::cell::Cell;

    fn record(number: u8, name: &str) -> Record {
        let mut record = Record::new(New {
            id: ContainerId::from_raw([number; 32]),
            name: name.into(),
            root: Root::Image { id: Digest::of(b"image"), data: "/d".into() },
            config: ContainerConfig {
                image: "busybox".into(),
                labels: [("tier".to_owned(), "web".to_owned()), ("x".to_owned(), String::new())].into(),
                exposed_ports: ["80/tcp".to_owned(), "53/udp".to_owned()].into(),
                ..Default::default()
            },
            host: HostConfig { network_mode: "bridge".into(), ..Default::default() },
            endpoints: Default::default(),
            hostname: "h".into(),
            mac: None,
            mounts: Vec::new(),
            cgroup: None,
            log_store: Default::default(),
        });
        record.created = Timestamp::from_second(i64::from(number)).unwrap();
        record
    }

    fn request(filters: &[(&str, &str)]) -> ListRequest {
        let mut request = ListRequest { all: true, ..Default::default() };
        for (key, value) in filters {
            request.filters.entry((*key).to_owned()).or_default().push((*value).to_owned());
        }
        request
    }

    fn wanted(filters: &[(&str, &str)]) -> Result<Wanted> {
        let find = |name: &str| match name {
            "five" => Timestamp::from_second(5).map_err(|e| Error::system(e.to_string())),
            _ => Err(Error::not_found(format!("No such container: {name}"))),
        };
        let image = |name: &str| (name == "busybox:latest").then(|| Digest::of(b"image"));
        Wanted::read(&request(filters), &Context { find: &find, image: &image })
    }

    fn takes(filters: &[(&str, &str)], record: &Record, paused: bool) -> bool {
        let network_id = |name: &str| format!("id of {name}");
        let wanted = wanted(filters).unwrap();
        wanted.fits(record.id.as_str(), &record.name)
            && wanted.takes(record, Beside { paused, network_id: &network_id })
    }

    #[test]
    fn each_filter_takes_what_docker_takes() {
        let mut c = record(7, "web");
        for (filters, want) in [
            (&[("name", "eb")][..], true),
            (&[("name", "^/web$")], true),
            (&[("name", "^web$")], true),
            (&[("name", "/web")], true),
            (&[("name", "w.b")], true),
            (&[("name", "^(db|web)[0-9]*$")], true),
            (&[("name", "^eb")], false),
            (&[("name", "web[")], false),
            (&[("name", "WEB")], false),
            (&[("name", "db"), ("name", "web")], true),
            (&[("id", "0707")], true),
            (&[("id", "^0707")], true),
            (&[("id", "08")], false),
            (&[("label", "tier=web"), ("label", "x")], true),
            (&[("label", "tier=web"), ("label", "y")], false),
            (&[("label", "tier=we")], false),
            (&[("status", "created")], true),
            (&[("status", "exited"), ("status", "created")], true),
            (&[("status", "running")], false),
            (&[("health", "none")], true),
            (&[("health", "healthy")], false),
            (&[("exited", "0")], false),
            (&[("ancestor", "busybox:latest")], true),
            (&[("ancestor", "busybox")], true),
            (&[("ancestor", "debian")], false),
            (&[("since", "five")], true),
            (&[("before", "five")], false),
            (&[("network", "bridge")], true),
            (&[("network", "host")], false),
            (&[("expose", "80")], true),
            (&[("expose", "50-60/udp")], true),
            (&[("expose", "53")], false),
            (&[("publish", "80")], false),
            (&[("publish", "80"), ("expose", "80")], true),
            (&[("isolation", "hyperv")], true),
            (&[("is-task", "true")], false),
            (&[("is-task", "0")], true),
            (&[("volume", "data")], false),
            (&[("name", "web"), ("label", "nope")], false),
        ] {
            assert_eq!(takes(filters, &c, false), want, "{filters:?}");
        }
        c.state.status = Status::Running;
        assert!(takes(&[("status", "running")], &c, false) && takes(&[("status", "paused")], &c, true));
        assert!(!takes(&[("status", "running")], &c, true));
        assert!(takes(&[("network", "id of br")], &c, false));
        (c.state.status, c.state.exit_code, c.state.started_at) = (Status::Exited, 3, Some(Timestamp::UNIX_EPOCH));
        assert!(takes(&[("exited", "3")], &c, false) && !takes(&[("exited", "0")], &c, false));
    }

    /// One that would take long is no pattern, and is looked for as it is.
    #[test]
    fn patterns_are_bounded() {
        let big = "(a{900}){900}";
        assert!(Pattern::new(big).1.is_none() && Pattern::new(big).fits(big));
        let many = format!("^/({})$", (0..1000).map(|n| format!("web-{n}")).collect::<Vec<_>>().join("|"));
        assert!(Pattern::new(&many).fits("/web-999") && !Pattern::new(&many).fits("/web-1000"));
    }

    #[test]
    fn what_no_filter_can_mean_is_refused() {
        for (key, value) in [
            ("nope", "x"),
            ("status", "sleeping"),
            ("health", "fine"),
            ("exited", "x"),
            ("since", "nobody"),
            ("publish", "0.0.0.0:80"),
            ("publish", "80-70"),
            ("expose", "x"),
            ("is-task", "maybe"),
        ] {
            assert!(wanted(&[(key, value)]).is_err(), "{key}={value}");
        }
        assert_eq!(wanted(&[("nope", "x")]).err().unwrap().text(), "invalid filter 'nope'");
    }

    #[test]
    fn a_thousand_containers_cost_one_look_at_each_name() {
        let (finds, images) = (Cell::new(0), Cell::new(0));
        let find = |_: &str| {
            finds.set(finds.get() + 1);
            Ok(Timestamp::UNIX_EPOCH)
        };
        let image = |_: &str| {
            images.set(images.get() + 1);
            Some(Digest::of(b"image"))
        };
        let request = request(&[("since", "a"), ("ancestor", "b")]);
        let wanted = Wanted::read(&request, &Context { find: &find, image: &image }).unwrap();
        let c = record(7, "web");
        let network_id = |_: &str| String::new();
        let hits = (0..1000).filter(|_| wanted.takes(&c, Beside { paused: false, network_id: &network_id })).count();
        assert_eq!((hits, finds.get(), images.get()), (1000, 1, 1));
    }
}
