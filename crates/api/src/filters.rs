//! The `filters` parameter of lists: a JSON object of names to values.

use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// Filters as sent: each name with its values, of which one must match. Written in the form that all
/// versions read (`{"name":{"value":true}}`); the older form (`{"name":["value"]}`) is read, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(pub BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// From the value of the query's parameter; empty means no filter.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map_err(|e| format!("invalid filter {text:?}: {e}"))
    }
    /// Adds `value` to the filter `name`.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.entry(name.into()).or_default().insert(value.into());
    }
    /// The values of the filter `name`; none if it was not sent.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }
    /// Whether the filter `name` was sent with a value.
    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }
    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The first name that is not among `known`.
    pub fn unknown<'a>(&'a self, known: &[&str]) -> Option<&'a str> {
        self.0.keys().map(String::as_str).find(|name| !known.contains(name))
    }
    /// As text for the query's parameter.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Filters {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(
            self.0
                .iter()
                .map(|(name, values)| (name, values.iter().map(|value| (value, true)).collect::<BTreeMap<_, _>>())),
        )
    }
}

impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected an object of values or an array of strings")]
        enum Values {
            Set(BTreeMap<String, bool>),
            List(Vec<String>),
        }
        let read = BTreeMap::<String, Values>::deserialize(d)?;
        Ok(Self(
            read.into_iter()
                .map(|(name, values)| match values {
                    Values::Set(set) => (name, set.into_iter().filter(|(_, on)| *on).map(|(v, _)| v).collect()),
                    Values::List(list) => (name, list.into_iter().collect()),
                })
                .collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_the_newer_is_written() {
        let new = Filters::parse(r#"{"label":{"a=b":true,"no":false},"status":{"running":true}}"#).unwrap();
        let old = Filters::parse(r#"{"label":["a=b"],"status":["running"]}"#).unwrap();
        assert_eq!(new, old);
        assert_eq!(new.to_text(), r#"{"label":{"a=b":true},"status":{"running":true}}"#);
        assert_eq!(Filters::parse("").unwrap(), Filters::default());
        assert!(Filters::parse("[]").is_err() && Filters::parse(r#"{"a":1}"#).is_err());
        assert_eq!(new.unknown(&["label"]), Some("status"));
    }
}
