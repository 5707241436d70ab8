//! What goes along with each line: labels and variables of the container that its log options name, and its tag.

use super::tag::{self, Info};
use dhow_types::{Error, Result};
use regex_lite::Regex;
use std::collections::BTreeMap;

/// A tag that was not asked for, where a receiver needs one.
const DEFAULT_TAG: &str = "{{.ID}}";
/// The longest that may stand beside a line. Readers know lines of a megabyte at most.
const MAX_ATTRS: usize = 256 << 10;

/// The labels and variables that `labels`, `labels-regex`, `env` and `env-regex` choose.
pub fn chosen(info: &Info<'_>) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    let variables: BTreeMap<&str, &str> = info.env.iter().filter_map(|v| v.split_once('=')).collect();
    let labels: BTreeMap<&str, &str> = info.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    for (option, from) in [("labels", &labels), ("env", &variables)] {
        let names = info.options.get(option).map_or("", String::as_str);
        out.extend(names.split(',').filter_map(|name| from.get_key_value(name)).map(owned));
        let option = format!("{option}-regex");
        if let Some(pattern) = info.options.get(&option).filter(|p| !p.is_empty()) {
            let regex = Regex::new(pattern)
                .map_err(|e| Error::invalid(format!("failed to initialize logging driver: {option} {pattern}: {e}")))?;
            out.extend(from.iter().filter(|(name, _)| regex.is_match(name)).map(owned));
        }
    }
    Ok(out)
}

fn owned((name, value): (&&str, &&str)) -> (String, String) {
    ((*name).to_owned(), (*value).to_owned())
}

/// What stands in the log beside each line: the chosen ones, and the tag if there is one.
pub fn of_line(info: &Info<'_>) -> Result<BTreeMap<String, String>> {
    let mut out = chosen(info)?;
    let template = info.options.get("tag").map_or("", String::as_str);
    let tag = tag::render(template, info)?;
    if !tag.is_empty() {
        out.insert("tag".into(), tag);
    }
    Ok(out)
}

/// As an object, spelled as Go spells it. `None` when there are none.
pub fn json(attrs: &BTreeMap<String, String>) -> Option<String> {
    if attrs.is_empty() {
        return None;
    }
    // Nothing that Go spells in another way stands outside of strings.
    let mut out = String::new();
    for c in serde_json::to_string(attrs).ok()?.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            other => out.push(other),
        }
    }
    Some(out)
}

/// The tag for a receiver, which is never empty.
pub fn tag(info: &Info<'_>) -> Result<String> {
    let asked = info.options.get("tag").filter(|t| !t.is_empty()).map_or(DEFAULT_TAG, String::as_str);
    let tag = tag::render(asked, info)?;
    Ok(if tag.is_empty() { "dhow".into() } else { tag })
}

/// The tag for a receiver whose messages are lines: none of its characters ends one, or makes another look like what it
/// is not.
pub fn tag_of_line(info: &Info<'_>) -> Result<String> {
    Ok(tag(info)?
        .chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { '_' } else { c })
        .collect())
}

/// Refuses what can't stand beside every line.
pub fn check(info: &Info<'_>) -> Result<()> {
    let attrs = json(&of_line(info)?).unwrap_or_default();
    if attrs.len() > MAX_ATTRS {
        return Err(Error::invalid(format!(
            "failed to initialize logging driver: labels, variables and tag of the log options are {} bytes long, and \
             stand in each line: at most {MAX_ATTRS}; let labels, labels-regex, env and env-regex choose fewer",
            attrs.len()
        )));
    }
    Ok(())
}

/// The fields of every entry in systemd's journal. `epoch` tells this start's entries from others'.
pub fn journal(info: &Info<'_>, epoch: String) -> Result<Vec<(String, String)>> {
    let tag = tag(info)?;
    let mut fields = BTreeMap::from([
        ("CONTAINER_ID".to_owned(), info.short_id().to_owned()),
        ("CONTAINER_ID_FULL".to_owned(), info.id.to_owned()),
        ("CONTAINER_NAME".to_owned(), info.name.to_owned()),
        ("CONTAINER_TAG".to_owned(), tag.clone()),
        ("IMAGE_NAME".to_owned(), info.image_name.to_owned()),
        ("SYSLOG_IDENTIFIER".to_owned(), tag),
        ("CONTAINER_LOG_EPOCH".to_owned(), epoch),
    ]);
    for (name, value) in chosen(info)? {
        let name = field(&name);
        if !name.is_empty() {
            fields.insert(name, value);
        }
    }
    Ok(fields.into_iter().collect())
}

/// A name that the journal takes: upper case, digits, underscores, none in front.
fn field(name: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(clean).skip_while(|c| *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::super::tag::tests::info;
    use super::*;

    fn options(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn labels_variables_and_tag_in_one_object() {
        for (given, want) in [
            (&[][..], None),
            (&[("labels", "")], None),
            (&[("labels", "none,team")], Some(r#"{"team":"a\u0026b"}"#)),
            (&[("labels-regex", "^(team|com\\.)")], Some(r#"{"com.example":"7","team":"a\u0026b"}"#)),
            (&[("env", "A,EMPTY,B,NOVALUE")], Some(r#"{"A":"1","EMPTY":""}"#)),
            (&[("env-regex", "^A")], Some(r#"{"A":"1","AB":"x=y"}"#)),
            (&[("tag", "{{.Name}}"), ("env", "A")], Some(r#"{"A":"1","tag":"web"}"#)),
            (&[("tag", "<{{.ID}}>")], Some(r#"{"tag":"\u003c0123456789ab\u003e"}"#)),
        ] {
            let options = options(given);
            assert_eq!(json(&of_line(&info(&options)).unwrap()).as_deref(), want, "{given:?}");
        }
        let options = options(&[("labels-regex", "(")]);
        let error = of_line(&info(&options)).unwrap_err();
        assert!(error.text().starts_with("failed to initialize logging driver: labels-regex (: "), "{error}");
    }

    #[test]
    fn fields_of_the_journal() {
        let options = options(&[("labels", "com.example,team"), ("env", "A"), ("tag", "t/{{.Name}}")]);
        let got = journal(&info(&options), "e".into()).unwrap();
        let got: Vec<_> = got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let id = "0123456789abcdef".repeat(4);
        let want = [
            ("A", "1"),
            ("COM_EXAMPLE", "7"),
            ("CONTAINER_ID", "0123456789ab"),
            ("CONTAINER_ID_FULL", &id),
            ("CONTAINER_LOG_EPOCH", "e"),
            ("CONTAINER_NAME", "web"),
            ("CONTAINER_TAG", "t/web"),
            ("IMAGE_NAME", "nginx:1"),
            ("SYSLOG_IDENTIFIER", "t/web"),
            ("TEAM", "a&b"),
        ];
        assert_eq!(got, want);
        assert_eq!([field("_a.b-ü9"), field("__"), field("X")], ["A_B__9".to_owned(), String::new(), "X".to_owned()]);
    }

    #[test]
    fn a_tag_makes_no_line_of_its_own() {
        for (given, want) in [
            ("a\n<0>Jan  1 00:00:00 kernel: b\r\u{85}c", "a_<0>Jan  1 00:00:00 kernel: b__c"),
            ("{{index .ContainerLabels \"team\" | json}} é", "\"a&b\" é"),
            ("{{\"x\\ny\\u2028\"}}\t", "x_y__"),
        ] {
            let options = options(&[("tag", given)]);
            assert_eq!(tag_of_line(&info(&options)).unwrap(), want);
        }
    }

    #[test]
    fn what_stands_in_each_line_is_bounded() {
        let labels = [("small".to_owned(), "x".repeat(100)), ("large".to_owned(), "\"".repeat(MAX_ATTRS / 2))].into();
        for (chosen, fits) in [("small", true), ("large", false)] {
            let options = options(&[("labels", chosen)]);
            let got = check(&Info { labels: &labels, ..info(&options) });
            assert_eq!(got.is_ok(), fits, "{got:?}");
            assert!(fits || got.unwrap_err().text().contains("stand in each line: at most 262144"));
        }
    }

    #[test]
    fn a_receiver_always_gets_a_tag() {
        for (given, want) in [("", "0123456789ab"), ("{{.Name}}", "web"), ("{{/* none */}}", "dhow")] {
            let options = options(&[("tag", given)]);
            assert_eq!(tag(&info(&options)).unwrap(), want);
        }
    }
}
