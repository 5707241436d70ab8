//! Which images a list shows: Docker's filters.

use super::glob::Glob;
use dhow_api::Filters;
use dhow_engine::plan::prune::moment;
use dhow_engine::view::ImageView;
use dhow_types::{Error, Reference, Result};
use jiff::Timestamp;

const KNOWN: [&str; 6] = ["dangling", "label", "before", "since", "reference", "until"];

/// Images named by filters, with the time each was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Between {
    /// Only images made before this one.
    pub(crate) before: Option<Timestamp>,
    /// Only images made after this one.
    pub(crate) since: Option<Timestamp>,
}

impl Between {
    /// One more image of a filter `before` (or `since`): all of them must hold. One that does not say when it was made
    /// counts as older than all others, as in Docker.
    pub(crate) fn add(&mut self, is_before: bool, made: Option<Timestamp>) {
        let made = Some(made.unwrap_or(Timestamp::MIN));
        let (side, choose): (_, fn(Timestamp, Timestamp) -> Timestamp) = match is_before {
            true => (&mut self.before, std::cmp::min),
            false => (&mut self.since, std::cmp::max),
        };
        *side = match (*side, made) {
            (Some(a), Some(b)) => Some(choose(a, b)),
            (a, b) => a.or(b),
        };
    }
}

/// Refuses filters that no list of images has.
pub(crate) fn check(filters: &Filters) -> Result<()> {
    match filters.unknown(&KNOWN) {
        Some(unknown) => Err(Error::invalid(format!("invalid filter '{unknown}': use one of {}", KNOWN.join(", ")))),
        None => Ok(()),
    }
}

/// The images of `all` that `filters` let through, in the same order, each with the names that were asked for.
pub(crate) fn select(
    all: Vec<ImageView>,
    filters: &Filters,
    mut between: Between,
    now: Timestamp,
) -> Result<Vec<ImageView>> {
    check(filters)?;
    let dangling = dangling(filters)?;
    for text in filters.values("until") {
        between.add(true, Some(moment(text, now)?));
    }
    let patterns = filters.has("reference").then(|| patterns(filters)).transpose()?;
    let keep = |mut image: ImageView| {
        if let Some(patterns) = &patterns {
            image.tags.retain(|name| fits(patterns, name));
            image.digests.retain(|name| fits(patterns, name));
        }
        let nameless = image.tags.is_empty() && image.digests.is_empty();
        let by_name = match dangling {
            Some(true) => image.tags.is_empty(),
            Some(false) => !nameless,
            None => true,
        };
        let kept = by_name
            && !(patterns.is_some() && nameless)
            && filters.values("label").all(|label| has_label(&image, label))
            && between.before.is_none_or(|moment| image.created.is_some_and(|made| made < moment))
            && between.since.is_none_or(|moment| image.created.is_some_and(|made| made > moment));
        kept.then_some(image)
    };
    Ok(all.into_iter().filter_map(keep).collect())
}

fn dangling(filters: &Filters) -> Result<Option<bool>> {
    let values: Vec<&str> = filters.values("dangling").collect();
    if values.is_empty() {
        return Ok(None);
    }
    let has = |words: [&str; 2]| words.iter().any(|word| values.contains(word));
    match (has(["1", "true"]), has(["0", "false"])) {
        (true, false) => Ok(Some(true)),
        (false, true) => Ok(Some(false)),
        _ => Err(Error::invalid(format!("invalid filter 'dangling={}': want true or false", values.join(",")))),
    }
}

fn has_label(image: &ImageView, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => image.labels.get(key).is_some_and(|have| have == value),
        None => image.labels.contains_key(wanted),
    }
}

fn patterns(filters: &Filters) -> Result<Vec<Glob>> {
    let one = |text: &str| {
        Glob::parse(text)
            .ok_or_else(|| Error::invalid(format!("invalid filter 'reference={text}': syntax error in pattern")))
    };
    filters.values("reference").map(one).collect()
}

/// Whether a name fits one of the patterns: as it is shown or in full, with or without tag or digest.
fn fits(patterns: &[Glob], name: &str) -> bool {
    let Ok(reference) = name.parse::<Reference>() else { return patterns.iter().any(|p| p.fits(name)) };
    let forms = [name.to_owned(), reference.familiar_name(), reference.to_string(), reference.name()];
    patterns.iter().any(|pattern| forms.iter().any(|form| pattern.fits(form)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::Digest;

    fn at(seconds: i64) -> Option<Timestamp> {
        Timestamp::from_second(seconds).ok()
    }

    fn image(tags: &[&str], digests: &[&str], created: Option<i64>) -> ImageView {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        ImageView {
            id: Digest::of(tags.concat().as_bytes()),
            tags: list(tags),
            digests: list(digests),
            parent: None,
            created: created.and_then(at),
            size: 7,
            damaged: None,
            shared: 0,
            containers: 0,
            labels: [("team".to_owned(), "sea".to_owned())].into(),
            document: None,
            layers: vec![],
            graph: Default::default(),
            last_tagged: None,
            last_used: None,
        }
    }

    #[test]
    fn filters_choose_images() {
        let digest = format!("known@sha256:{}", "0".repeat(64));
        let all = || {
            vec![
                image(&["new:1", "reg.io:5000/team/new:2"], &[], Some(30)),
                image(&["busybox:latest"], &[], Some(20)),
                image(&[], &[], Some(10)),
                image(&[], &[&digest], Some(5)),
                image(&["undated:1"], &[], None),
            ]
        };
        let everything = "new:1+reg.io:5000/team/new:2 busybox:latest  known undated:1";
        let between = |before: Option<i64>, since: Option<i64>| Between {
            before: before.and_then(at),
            since: since.and_then(at),
        };
        let open = Between::default();
        for (filters, between, names) in [
            ("", open, everything),
            (r#"{"dangling":["true"]}"#, open, " known"),
            (r#"{"dangling":["0"]}"#, open, "new:1+reg.io:5000/team/new:2 busybox:latest known undated:1"),
            (r#"{"reference":["busy*"]}"#, open, "busybox:latest"),
            (r#"{"reference":["busybox:lat*"]}"#, open, "busybox:latest"),
            (r#"{"reference":["docker.io/library/busybox"]}"#, open, "busybox:latest"),
            (r#"{"reference":["docker.io/*/busybox:latest"]}"#, open, "busybox:latest"),
            (r#"{"reference":["x","new"]}"#, open, "new:1"),
            (r#"{"reference":["reg.io:5000/*/*"]}"#, open, "reg.io:5000/team/new:2"),
            (r#"{"reference":["*/*"]}"#, open, ""),
            (r#"{"reference":["[bn]*"]}"#, open, "new:1 busybox:latest"),
            (r#"{"reference":["known"]}"#, open, "known"),
            (r#"{"reference":["known"],"dangling":["true"]}"#, open, "known"),
            (r#"{"reference":["new"],"dangling":["true"]}"#, open, ""),
            (r#"{"label":["team=sea"]}"#, open, everything),
            (r#"{"label":["team"]}"#, open, everything),
            (r#"{"label":["team=sea","other"]}"#, open, ""),
            ("", between(Some(20), None), " known"),
            ("", between(None, Some(10)), "new:1+reg.io:5000/team/new:2 busybox:latest"),
            ("", between(Some(30), Some(10)), "busybox:latest"),
            (r#"{"until":["25"]}"#, open, "busybox:latest  known"),
            (r#"{"until":["25","15"]}"#, open, " known"),
            (r#"{"until":["85s"]}"#, open, " known"),
        ] {
            let now = at(100).unwrap();
            let got = select(all(), &Filters::parse(filters).unwrap(), between, now).unwrap();
            let shown = |i: &ImageView| match i.digests.is_empty() {
                true => i.tags.join("+"),
                false => "known".to_owned(),
            };
            assert_eq!(got.iter().map(shown).collect::<Vec<_>>().join(" "), names, "{filters} {between:?}");
        }
        for (bad, part) in [
            (r#"{"nmae":["x"]}"#, "invalid filter 'nmae'"),
            (r#"{"dangling":["maybe"]}"#, "dangling=maybe"),
            (r#"{"dangling":["true","false"]}"#, "dangling=false,true"),
            (r#"{"until":["?"]}"#, "until=?"),
            (r#"{"reference":["[a"]}"#, "syntax error in pattern"),
        ] {
            let error = select(all(), &Filters::parse(bad).unwrap(), open, Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(error.text().contains(part), "{bad}: {}", error.text());
        }
    }

    #[test]
    fn of_several_images_the_narrowest_counts() {
        let mut between = Between::default();
        for (is_before, made) in [(true, 30), (true, 20), (true, 25), (false, 5), (false, 9), (false, 7)] {
            between.add(is_before, at(made));
        }
        between.add(false, None);
        assert_eq!((between.before, between.since), (at(20), at(9)));
        // Nothing is older than what does not say when it was made.
        between.add(true, None);
        assert_eq!((between.before, between.since), (Some(Timestamp::MIN), at(9)));
    }
}
