//! What a template works on: JSON, but with Go's distinctions, and objects that keep their order.
//!
//! A document of the API is a tree of Go structs and maps. JSON shows both as objects; [`super::shape`] tells them apart.

use super::shape::{self, Shape};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum V {
    /// What a map does not hold.
    Missing,
    /// A null of which nothing is known.
    NilAny,
    /// A pointer to nothing.
    Nil,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<V>),
    NilList,
    Map(BTreeMap<String, V>),
    NilMap,
    Struct(Box<Struct>),
}

/// Fields in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Struct {
    /// The name of its type, for errors.
    pub type_name: &'static str,
    /// Its fields, or its methods without arguments.
    pub fields: Vec<(String, V)>,
    /// What `.Label "name"` looks in, where there is such a method.
    pub labels: Option<BTreeMap<String, String>>,
    /// Fields that its JSON leaves out, because they are empty.
    pub omitted: Vec<&'static str>,
    /// It stands for a map of titles, whose `.Label` makes a title of a label's name.
    pub titles: bool,
}

impl Struct {
    /// A field.
    pub fn field(&self, name: &str) -> Option<&V> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }
}

static EMPTY: BTreeMap<String, V> = BTreeMap::new();

impl V {
    /// A document of a row: a struct of this type, whose fields hold what the JSON holds.
    pub fn row(type_name: &'static str, row: &serde_json::Value) -> Self {
        match Self::from(row) {
            Self::Struct(mut inner) => {
                inner.type_name = type_name;
                Self::Struct(inner)
            }
            other => other,
        }
    }

    /// The items, if it is a list.
    pub fn items(&self) -> Option<&[V]> {
        match self {
            Self::List(items) => Some(items),
            Self::NilList => Some(&[]),
            _ => None,
        }
    }

    /// The entries, if it is a map.
    pub fn entries(&self) -> Option<&BTreeMap<String, V>> {
        match self {
            Self::Map(map) => Some(map),
            Self::NilMap => Some(&EMPTY),
            _ => None,
        }
    }

    /// Go's name for its type.
    pub fn type_name(&self) -> &'static str {
        let texts = |mut all: Box<dyn Iterator<Item = &V> + '_>| all.all(|v| matches!(v, Self::Text(_)));
        match self {
            Self::Missing | Self::NilAny | Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(items) if texts(Box::new(items.iter())) => "[]string",
            Self::NilList => "[]string",
            Self::List(_) => "[]interface {}",
            Self::Map(map) if !map.is_empty() && texts(Box::new(map.values())) => "map[string]string",
            Self::Map(_) | Self::NilMap => "map[string]interface {}",
            Self::Struct(inner) => inner.type_name,
        }
    }

    /// Go's idea of true: anything but the zero value; a struct always.
    pub fn truth(&self) -> bool {
        match self {
            Self::Missing | Self::NilAny | Self::Nil | Self::NilList | Self::NilMap => false,
            Self::Bool(b) => *b,
            Self::Int(n) => *n != 0,
            Self::Float(f) => *f != 0.0,
            Self::Text(s) => !s.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Struct(_) => true,
        }
    }

    /// As a document of plain maps, for the second try of `inspect`.
    pub fn raw(&self) -> Self {
        match self {
            Self::Nil | Self::NilList | Self::NilMap => Self::NilAny,
            Self::List(items) => Self::List(items.iter().map(Self::raw).collect()),
            Self::Map(map) => Self::Map(map.iter().map(|(k, v)| (k.clone(), v.raw())).collect()),
            Self::Struct(inner) => Self::Map(inner.fields.iter().map(|(k, v)| (k.clone(), v.raw())).collect()),
            other => other.clone(),
        }
    }

    /// As `json` prints it: maps by their keys, structs in their order, no escapes for HTML.
    pub fn json(&self, out: &mut String) {
        let text = |out: &mut String, text: &str| {
            // serde_json escapes what Go escapes, but for the two line separators.
            let quoted = serde_json::Value::String(text.to_owned()).to_string();
            out.push_str(&quoted.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"));
        };
        let object = |out: &mut String, entries: &mut dyn Iterator<Item = (&String, &V)>| {
            out.push('{');
            for (n, (key, value)) in entries.enumerate() {
                if n > 0 {
                    out.push(',');
                }
                text(out, key);
                out.push(':');
                value.json(out);
            }
            out.push('}');
        };
        match self {
            Self::Missing | Self::NilAny | Self::Nil | Self::NilList | Self::NilMap => out.push_str("null"),
            Self::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Self::Int(n) => out.push_str(&n.to_string()),
            Self::Float(f) => out.push_str(&float(*f, -6)),
            Self::Text(s) => text(out, s),
            Self::List(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    item.json(out);
                }
                out.push(']');
            }
            Self::Map(map) => object(out, &mut map.iter()),
            Self::Struct(inner) => {
                let start = out.len();
                let shown = inner.fields.iter().filter(|(k, _)| !inner.omitted.iter().any(|o| o == k));
                object(out, &mut shown.map(|(k, v)| (k, v)));
                // A row of a list writes itself, with the escapes.
                if inner.type_name.starts_with('*') {
                    let escaped = out[start..].replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
                    out.truncate(start);
                    out.push_str(&escaped);
                }
            }
        }
    }
}

/// A number as Go prints it at its shortest; below `10^least` and from 10²¹ on with an exponent.
pub fn float(f: f64, least: i32) -> String {
    if f == 0.0 {
        return "0".to_owned();
    }
    if !f.is_finite() {
        return if f.is_nan() {
            "NaN"
        } else if f > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    if f.abs() >= 1e21 || f.abs() < 10f64.powi(least) {
        let text = format!("{f:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
        // Go's JSON has no leading zero in a negative exponent, its fmt has always two digits.
        let digits = if least == -4 && digits.len() < 2 { format!("0{digits}") } else { digits.to_owned() };
        return format!("{mantissa}e{sign}{digits}");
    }
    f.to_string()
}

impl fmt::Display for V {
    /// As Go's `%v` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &mut dyn Iterator<Item = String>| {
            for (n, item) in items.enumerate() {
                write!(f, "{}{item}", if n > 0 { " " } else { "" })?;
            }
            Ok(())
        };
        match self {
            Self::Missing | Self::NilAny | Self::Nil => f.write_str("<nil>"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(x) => f.write_str(&float(*x, -4)),
            Self::Text(s) => f.write_str(s),
            Self::List(_) | Self::NilList => {
                f.write_str("[")?;
                list(f, &mut self.items().unwrap_or_default().iter().map(ToString::to_string))?;
                f.write_str("]")
            }
            Self::Map(_) | Self::NilMap => {
                f.write_str("map[")?;
                list(f, &mut self.entries().unwrap_or(&EMPTY).iter().map(|(k, v)| format!("{k}:{v}")))?;
                f.write_str("]")
            }
            Self::Struct(inner) => {
                f.write_str("{")?;
                list(f, &mut inner.fields.iter().map(|(_, v)| v.to_string()))?;
                f.write_str("}")
            }
        }
    }
}

impl From<&serde_json::Value> for V {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::NilAny,
            Value::Bool(b) => Self::Bool(*b),
            Value::Number(n) => n
                .as_i64()
                .map(i128::from)
                .or_else(|| n.as_u64().map(i128::from))
                .map_or_else(|| Self::Float(n.as_f64().unwrap_or(f64::NAN)), Self::Int),
            Value::String(s) => Self::Text(s.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(map) => object(map.iter().map(|(k, v)| (k.clone(), Self::from(v))).collect(), Shape::Struct),
        }
    }
}

/// An object of a field, with nulls as what they stand for.
fn object(entries: Vec<(String, V)>, shape: Shape) -> V {
    // The options of a log driver are the one `Config` that is a map.
    let of_a_driver = entries.len() == 2 && entries.iter().all(|(key, _)| key == "Type" || key == "Config");
    let shaped = entries.into_iter().map(|(key, value)| {
        let below = if of_a_driver && key == "Config" { Shape::Map } else { shape::of(&key) };
        let value = match value {
            V::NilAny => match below {
                Shape::Map => V::NilMap,
                Shape::List => V::NilList,
                Shape::Struct => V::Nil,
            },
            V::Struct(inner) if below == Shape::Map => V::Map(inner.fields.into_iter().collect()),
            other => other,
        };
        (key, value)
    });
    match shape {
        Shape::Map => V::Map(shaped.collect()),
        _ => V::Struct(Box::new(Struct { type_name: "struct", fields: shaped.collect(), ..Struct::default() })),
    }
}

impl<'de> Deserialize<'de> for V {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = V;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<V, E> {
                Ok(V::NilAny)
            }
            fn visit_bool<E>(self, value: bool) -> Result<V, E> {
                Ok(V::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<V, E> {
                Ok(V::Int(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<V, E> {
                Ok(V::Int(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<V, E> {
                Ok(V::Float(value))
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<V, E> {
                Ok(V::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<V, A::Error> {
                let mut out = Vec::new();
                while let Some(item) = items.next_element()? {
                    out.push(item);
                }
                Ok(V::List(out))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<V, A::Error> {
                let mut out: Vec<(String, V)> = Vec::new();
                while let Some((key, value)) = entries.next_entry::<String, V>()? {
                    if out.len() >= MAX_KEYS {
                        return Err(A::Error::custom("an object with too many keys"));
                    }
                    out.push((key, value));
                }
                Ok(object(out, Shape::Struct))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// An object of the API has fewer keys.
const MAX_KEYS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> V {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn structs_keep_their_order_and_maps_are_sorted() {
        let text = r#"{"Z":1,"A":{"Y":null,"B":[1.5,"<"]},"Labels":{"z":"1","a":"2"},"Volumes":null,"Cmd":null}"#;
        let mut out = String::new();
        read(text).json(&mut out);
        assert_eq!(out, text.replace(r#"{"z":"1","a":"2"}"#, r#"{"a":"2","z":"1"}"#));
        assert_eq!(read(text).to_string(), "{1 {<nil> [1.5 <]} map[a:2 z:1] map[] []}");
    }

    #[test]
    fn numbers_look_as_gos() {
        for (f, want) in
            [(1.5, "1.5"), (0.0, "0"), (1e21, "1e+21"), (1e-5, "1e-05"), (100_000.0, "100000"), (-0.25, "-0.25")]
        {
            assert_eq!(V::Float(f).to_string(), want);
        }
        assert_eq!(read("18446744073709551615").to_string(), "18446744073709551615");
        assert_eq!(read("-3").to_string(), "-3");
    }
}
