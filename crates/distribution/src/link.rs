//! `Link`: where a list goes on. Rule: RFC 8288, as far as registries use it; the next page is at the same origin, for
//! the proof that was shown for this one is shown there as well.

use crate::address::Address;
use crate::failure::Cause;
use http::HeaderMap;
use http::header::LINK;

/// The next page after `here`, if there is one.
pub(crate) fn next(headers: &HeaderMap, here: &Address) -> Result<Option<Address>, Cause> {
    let values = headers.get_all(LINK).iter().filter_map(|v| v.to_str().ok());
    let Some(target) = values.flat_map(links).find(|(_, rel)| *rel).map(|(target, _)| target) else {
        return Ok(None);
    };
    let wrong = |why: &str| Cause::Protocol(format!("the next page of its list {why}"));
    let next = here.join(target).map_err(|e| wrong(&format!("is at no address: {e}")))?;
    if next.origin() != here.origin() {
        return Err(wrong(&format!("is elsewhere, at {}, which is not followed", next.origin())));
    }
    if next == *here {
        return Err(wrong("is the same page"));
    }
    Ok(Some(next))
}

/// Targets, and whether each is what comes next.
fn links(value: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    let mut rest = value;
    // Each turn takes a `<` away.
    while let Some((_, after)) = rest.split_once('<') {
        let Some((target, params)) = after.split_once('>') else { break };
        // A comma within a target does not end the link.
        let (mine, others) = params.split_once(',').unwrap_or((params, ""));
        let next = mine.split(';').filter_map(|p| p.trim().split_once('=')).any(|(name, value)| {
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && value.split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        found.push((target, next));
        rest = others;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_list_goes_on() {
        let here = Address::parse("https://r/v2/a/tags/list?n=1").unwrap();
        let of = |text: &str| next(&HeaderMap::from_iter([(LINK, text.parse().unwrap())]), &here);
        for (text, path, query) in [
            ("</v2/a/tags/list?last=b&n=1>; rel=\"next\"", "/v2/a/tags/list", "last=b&n=1"),
            ("</v2/a/tags/list?last=b,c>; rel=next", "/v2/a/tags/list", "last=b,c"),
            ("<https://r:443/x?q=1>;rel=\"prev next\"", "/x", "q=1"),
            ("</first>; rel=\"first\", </second?y=2>; rel=\"next\"", "/second", "y=2"),
            ("<?last=z>; title=\"x\"; rel=\"next\"", "/v2/a/tags/list", "last=z"),
        ] {
            let got = of(text).unwrap().unwrap_or_else(|| panic!("{text}"));
            assert_eq!((got.path(), got.query()), (path, Some(query)), "{text}");
        }
        for none in ["", "</x>; rel=\"prev\"", "</x>", "</x", "garbage", "<"] {
            assert_eq!(of(none).unwrap(), None, "{none}");
        }
        for (bad, words) in [
            ("<https://other/v2>; rel=\"next\"", "https://other, which is not followed"),
            ("<http://r/v2>; rel=\"next\"", "http://r, which is not followed"),
            ("<https://r:444/v2>; rel=\"next\"", "not followed"),
            ("<//other/v2>; rel=\"next\"", "not followed"),
            ("<javascript:x>; rel=\"next\"", "no address"),
            ("</v2/a/tags/list?n=1>; rel=\"next\"", "same page"),
        ] {
            let e = of(bad).unwrap_err().to_string();
            assert!(e.contains(words), "{bad}: {e}");
        }
        assert_eq!(next(&HeaderMap::new(), &here).unwrap(), None);
    }
}
