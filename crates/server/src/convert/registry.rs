//! Answers of registries, and the filters of a search.

use dhow_api as api;
use dhow_api::Filters;
use dhow_engine::{DistributionView, Hit, SearchRequest};
use dhow_types::{Error, Platform, Result};

/// The answer to a login.
pub(crate) fn logged_in(identity_token: String) -> api::AuthResponse {
    api::AuthResponse { status: "Login Succeeded".to_owned(), identity_token }
}

/// What a registry has under a name.
pub(crate) fn distribution(view: DistributionView) -> api::DistributionInspect {
    let DistributionView { descriptor, platforms } = view;
    api::DistributionInspect {
        descriptor: api::OciDescriptor {
            media_type: descriptor.media_type,
            digest: descriptor.digest.to_string(),
            size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
            ..api::OciDescriptor::default()
        },
        // As Docker says it: no list for none.
        platforms: Some(platforms.into_iter().map(platform).collect::<Vec<_>>()).filter(|p| !p.is_empty()),
    }
}

fn platform(platform: Platform) -> api::OciPlatform {
    let Platform { architecture, os, os_version, variant } = platform;
    let os_version = os_version.unwrap_or_default();
    api::OciPlatform { architecture, os, os_version, variant, ..api::OciPlatform::default() }
}

/// One row of a search.
pub(crate) fn hit(hit: Hit) -> api::SearchResult {
    let Hit { name, description, is_official, star_count } = hit;
    api::SearchResult { star_count, is_official, name, is_automated: false, description }
}

/// Which rows are wanted.
pub(crate) fn search_filters(filters: &Filters) -> Result<SearchRequest> {
    if let Some(name) = filters.unknown(&["is-automated", "is-official", "stars"]) {
        return Err(Error::invalid(format!("invalid filter '{name}'")));
    }
    let flag = |name: &str| -> Result<Option<bool>> {
        if !filters.0.contains_key(name) {
            return Ok(None);
        }
        let has = |words: [&str; 2]| filters.values(name).any(|v| words.contains(&v));
        match (has(["1", "true"]), has(["0", "false"])) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ => {
                let values: Vec<&str> = filters.values(name).collect();
                Err(Error::invalid(format!("invalid filter '{name}=[{}]'", values.join(" "))))
            }
        }
    };
    let mut stars = 0;
    for text in filters.values("stars") {
        let read: i64 = text.parse().map_err(|_| Error::invalid(format!("invalid filter 'stars={text}'")))?;
        stars = read.max(stars);
    }
    let (automated, official) = (flag("is-automated")?.unwrap_or(false), flag("is-official")?);
    Ok(SearchRequest { automated, official, stars, ..SearchRequest::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_a_search() {
        let of = |text: &str| search_filters(&Filters::parse(text).unwrap());
        let r = of(r#"{"is-official":["true"],"stars":["3","10"]}"#).unwrap();
        assert_eq!((r.official, r.automated, r.stars), (Some(true), false, 10));
        let r = of(r#"{"is-automated":{"1":true},"is-official":["0"]}"#).unwrap();
        assert_eq!((r.official, r.automated, r.stars), (Some(false), true, 0));
        assert_eq!(of("").unwrap().official, None);
        for (text, words) in [
            (r#"{"name":["x"]}"#, "invalid filter 'name'"),
            (r#"{"stars":["many"]}"#, "invalid filter 'stars=many'"),
            (r#"{"is-official":["true","false"]}"#, "invalid filter 'is-official=[false true]'"),
            (r#"{"is-official":[]}"#, "invalid filter 'is-official=[]'"),
        ] {
            assert_eq!(of(text).unwrap_err().text(), words);
        }
    }

    #[test]
    fn answers_look_as_dockers_do() {
        let platform = |os: &str, variant: &str| Platform {
            architecture: "arm".into(),
            os: os.into(),
            os_version: None,
            variant: variant.into(),
        };
        let view = DistributionView {
            descriptor: serde_json::from_str(&format!(
                r#"{{"mediaType":"m","digest":"{}","size":7}}"#,
                dhow_types::Digest::of(b"")
            ))
            .unwrap(),
            platforms: vec![platform("linux", "v7")],
        };
        let none = DistributionView { platforms: vec![], ..view.clone() };
        let digest = dhow_types::Digest::of(b"");
        assert_eq!(
            serde_json::to_string(&distribution(view)).unwrap(),
            format!(
                r#"{{"Descriptor":{{"mediaType":"m","digest":"{digest}","size":7}},"Platforms":[{{"architecture":"arm","os":"linux","variant":"v7"}}]}}"#
            )
        );
        assert!(serde_json::to_string(&distribution(none)).unwrap().ends_with(r#""Platforms":null}"#));
        let hit = Hit { name: "n".into(), description: "d".into(), is_official: true, star_count: 3 };
        assert_eq!(
            serde_json::to_string(&super::hit(hit)).unwrap(),
            r#"{"star_count":3,"is_official":true,"name":"n","is_automated":false,"description":"d"}"#
        );
        assert_eq!(
            serde_json::to_string(&logged_in(String::new())).unwrap(),
            r#"{"Status":"Login Succeeded","IdentityToken":""}"#
        );
    }
}
