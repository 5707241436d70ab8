//! What a prune may take: its filters, in Docker's words, and dhow's own bounds.

use crate::config::PruneRequest;
use dhow_types::duration::go_nanoseconds;
use dhow_types::{Error, Result};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What is not known to have a label has none, but where that would be the reason to remove it.
static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

/// The checked filters of one prune.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    until: Option<Timestamp>,
    unused_since: Option<Timestamp>,
    with: Vec<String>,
    without: Vec<String>,
    /// `dangling=`, of images.
    pub(crate) dangling: Option<bool>,
    /// `all=`, of volumes.
    pub(crate) all: bool,
}

/// One thing that could be pruned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thing<'a> {
    /// When it was made; what says nothing of it is never older than anything.
    pub(crate) created: Option<Timestamp>,
    /// When it was last used.
    pub(crate) used: Option<Timestamp>,
    /// Its labels, if they are known: what is damaged says nothing of them.
    pub(crate) labels: Option<&'a BTreeMap<String, String>>,
}

impl Filters {
    /// Whether something stays because of its age or its labels.
    pub(crate) fn are_narrow(&self) -> bool {
        self.until.is_some() || self.unused_since.is_some() || !self.with.is_empty() || !self.without.is_empty()
    }

    /// Reads the filters of `request`; one that is not in `known` is refused by name.
    pub(crate) fn read(request: &PruneRequest, known: &[&str], now: Timestamp) -> Result<Self> {
        let mut out = Self::default();
        for (name, values) in &request.filters {
            if !known.contains(&name.as_str()) {
                return Err(Error::invalid(format!("invalid filter '{name}': use one of {}", known.join(", "))));
            }
            let flag = || match values.as_slice() {
                [v] if matches!(v.as_str(), "true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
                [v] if matches!(v.as_str(), "false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
                _ => Err(Error::invalid(format!("invalid filter '{name}={}': want true or false", values.join(",")))),
            };
            match name.as_str() {
                "label" => out.with.clone_from(values),
                "label!" => out.without.clone_from(values),
                "dangling" => out.dangling = Some(flag()?),
                "all" => out.all = flag()?,
                "until" => match values.as_slice() {
                    [one] => out.until = Some(moment(one, now)?),
                    _ => return Err(Error::invalid("more than one until filter specified")),
                },
                _ => {}
            }
        }
        if let Some(seconds) = request.unused_for {
            let then = i64::try_from(seconds).ok().and_then(|s| now.as_second().checked_sub(s));
            let then = then.and_then(|t| Timestamp::from_second(t).ok());
            out.unused_since = Some(then.unwrap_or(Timestamp::MIN));
        }
        Ok(out)
    }

    /// Whether `thing` may go.
    pub(crate) fn pass(&self, thing: Thing<'_>) -> bool {
        let Some(labels) = thing.labels.or_else(|| self.without.is_empty().then_some(&NO_LABELS)) else { return false };
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        };
        // As in Docker: it must have all of `label`, and not all of `label!`.
        self.with.iter().all(has)
            && (self.without.is_empty() || !self.without.iter().all(has))
            && self.until.is_none_or(|until| thing.created.is_some_and(|created| created <= until))
            && self.unused_since.is_none_or(|since| thing.used.is_some_and(|used| used <= since))
    }
}

/// A moment: a Go duration before `now`, seconds since 1970, or a date. Without a zone it is UTC.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp> {
    let bad = || {
        Error::invalid(format!(
            "invalid filter 'until={text}': want a duration (10m, 1h30m), a date (2026-01-31, RFC 3339) or seconds since 1970"
        ))
    };
    if let Some(nanos) = go_nanoseconds(text) {
        return Timestamp::from_nanosecond(now.as_nanosecond() - i128::from(nanos)).map_err(|_| bad());
    }
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    if !seconds.is_empty() && seconds.bytes().chain(decimals.bytes()).all(|b| b.is_ascii_digit()) {
        let nanos: i32 = match decimals.len() {
            ..=9 => format!("{decimals:0<9}").parse().map_err(|_| bad())?,
            _ => return Err(bad()),
        };
        return Timestamp::new(seconds.parse().map_err(|_| bad())?, nanos).map_err(|_| bad());
    }
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let civil = text.parse::<jiff::civil::DateTime>().ok();
    civil.and_then(|d| jiff::tz::TimeZone::UTC.to_timestamp(d).ok()).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(filters: &[(&str, &[&str])]) -> PruneRequest {
        let list = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect();
        PruneRequest {
            filters: filters.iter().map(|(k, v)| ((*k).to_owned(), list(v))).collect(),
            ..PruneRequest::default()
        }
    }

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn moments_as_docker_reads_them() {
        for (text, want) in [
            ("10m", "2026-11-24T11:50:00Z"),
            ("1h30m", "2026-11-24T10:30:00Z"),
            ("0.5s", "2026-11-24T11:59:59.5Z"),
            ("1000000000.25", "2001-09-09T01:46:40.25Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T10:00:00", "2026-01-31T10:00:00Z"),
            ("2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00Z"),
        ] {
            assert_eq!(moment(text, now()).unwrap(), want.parse().unwrap(), "{text}");
        }
        for bad in ["", "5x", "h", "yesterday", "1.2.3", "1.0000000001", "2026-13-01"] {
            assert!(moment(bad, now()).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters_choose() {
        let labels: BTreeMap<String, String> =
            [("a", "1"), ("b", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let thing = Thing {
            created: "2026-11-24T11:00:00Z".parse().ok(),
            used: "2026-11-24T11:30:00Z".parse().ok(),
            labels: Some(&labels),
        };
        let known = ["label", "label!", "until"];
        for (filters, want) in [
            (&[][..], true),
            (&[("label", &["a"][..])], true),
            (&[("label", &["a=1", "b"])], true),
            (&[("label", &["a=2"])], false),
            (&[("label", &["a", "c"])], false),
            (&[("label!", &["a"])], false),
            (&[("label!", &["c"])], true),
            (&[("label!", &["a", "c"])], true),
            (&[("until", &["30m"])], true),
            (&[("until", &["2h"])], false),
        ] {
            assert_eq!(Filters::read(&request(filters), &known, now()).unwrap().pass(thing), want, "{filters:?}");
        }
        // What may have the label that protects it stays.
        let unknown = Thing { labels: None, ..thing };
        for (filters, want) in [
            (&[][..], true),
            (&[("label", &["a"][..])], false),
            (&[("label!", &["c"])], false),
            (&[("until", &["30m"])], true),
        ] {
            assert_eq!(Filters::read(&request(filters), &known, now()).unwrap().pass(unknown), want, "{filters:?}");
        }
        for (seconds, want) in [(60, true), (1800, true), (1801, false), (u64::MAX, false)] {
            let unused = PruneRequest { unused_for: Some(seconds), ..PruneRequest::default() };
            assert_eq!(Filters::read(&unused, &known, now()).unwrap().pass(thing), want, "{seconds}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let text = |filters: &[(&str, &[&str])]| {
            let known = ["dangling", "all", "until"];
            Filters::read(&request(filters), &known, now()).unwrap_err().text().to_owned()
        };
        assert!(text(&[("label", &["a"])]).contains("invalid filter 'label'"));
        assert!(text(&[("dangling", &["maybe"])]).contains("invalid filter 'dangling=maybe'"));
        assert!(text(&[("all", &["true", "false"])]).contains("invalid filter 'all="));
        assert_eq!(text(&[("until", &["1h", "2h"])]), "more than one until filter specified");
    }
}
