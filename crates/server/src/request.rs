//! What a request says: query parameters, times, and its body within limits.

use bytes::Bytes;
use dhow_types::{Context, Error, ErrorKind, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use std::time::Duration;

/// The largest JSON document that is read. A seccomp profile inside of `SecurityOpt` is the largest lawful one.
pub(crate) const MAX_DOCUMENT: usize = 4 * 1024 * 1024;
/// How long a JSON document may take to arrive.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The parameters after `?`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name, true), decode(value, true))
                })
                .collect(),
        )
    }

    /// The first value of `name`, unless it is absent or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// All values of `name` that are not empty, in their order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(have, value)| have == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Docker's reading of a flag: anything but a word for "no" is yes.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default().trim().to_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// The whole number `name`, if it was given.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.get(name)
            .map(|text| text.parse().map_err(|_| Error::invalid(format!("invalid {name} {text:?}: want a number"))))
            .transpose()
    }

    /// Refuses a parameter that is known but not built, if it was given and says more than "no".
    pub(crate) fn refuse(&self, names: &[&str]) -> Result<()> {
        match names.iter().find(|name| self.flag(name)) {
            Some(name) => Err(Error::not_implemented(format!("the parameter {name} is not supported"))),
            None => Ok(()),
        }
    }
}

/// `%41` and, in a query, `+` decoded. Bytes that are no UTF-8 become replacement characters, which no name has.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match (byte, digit(at), digit(at + 1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) if plus_is_space => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A moment as clients send it: seconds since 1970 with up to nine decimals, or RFC 3339.
pub(crate) fn timestamp(text: &str) -> Result<Timestamp> {
    let bad = || Error::invalid(format!("invalid time {text:?}: want seconds since 1970 or RFC 3339"));
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    match text.split_once('.').unwrap_or((text, "")) {
        (seconds, decimals) if numeric && decimals.len() <= 9 && !seconds.get(1..).is_some_and(|s| s.contains('-')) => {
            let nanos: i32 = format!("{decimals:0<9}").parse().map_err(|_| bad())?;
            let seconds: i64 = seconds.parse().map_err(|_| bad())?;
            Timestamp::new(seconds, if text.starts_with('-') { -nanos } else { nanos }).map_err(|_| bad())
        }
        _ => text.parse().map_err(|_| bad()),
    }
}

/// A request's body.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// It arrives yet.
    Incoming(Incoming),
    /// It was read with the head.
    Whole(Bytes),
}

impl RequestBody {
    /// Its length, if that is known before it is read.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Incoming(body) => hyper::body::Body::size_hint(body).exact(),
            Self::Whole(bytes) => Some(bytes.len() as u64),
        }
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn piece(&mut self) -> Option<Result<Bytes>> {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => None,
            Self::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Self::Incoming(body) => loop {
                match body.frame().await? {
                    Ok(frame) => match frame.into_data() {
                        Ok(data) => return Some(Ok(data)),
                        Err(_trailers) => {}
                    },
                    Err(e) => return Some(Err(Error::invalid(format!("the request ended early: {e}")))),
                }
            },
        }
    }

    /// The JSON document in it. No body at all is the empty document, as in Docker.
    pub(crate) async fn json<T: Default + serde::de::DeserializeOwned>(
        mut self,
        media_type: Option<&str>,
    ) -> Result<T> {
        let whole = tokio::time::timeout(DOCUMENT_TIMEOUT, self.whole()).await;
        let bytes = whole.unwrap_or_else(|_| Err(Error::invalid("the request's body did not arrive in time")))?;
        if bytes.is_empty() {
            return Ok(T::default());
        }
        match media_type.map(|t| t.split(';').next().unwrap_or(t).trim()) {
            Some(other) if !other.eq_ignore_ascii_case("application/json") => {
                return Err(Error::invalid(format!(
                    "unsupported Content-Type header ({other}): must be 'application/json'"
                )));
            }
            _ => {}
        }
        serde_json::from_slice(&bytes).map_err(|e| Error::invalid(e.to_string())).context("invalid JSON")
    }

    async fn whole(&mut self) -> Result<Bytes> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece().await {
            let piece = piece?;
            if all.len() + piece.len() > MAX_DOCUMENT {
                return Err(Error::new(
                    ErrorKind::InvalidParameter,
                    format!("the request's body is larger than {MAX_DOCUMENT} bytes"),
                ));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_docker_reads_them() {
        let q = Query::parse("a=1&b=False&c&d=none&name=x%2Fy+z&e=yes&n=12&bad=1x&p=%zz%4");
        assert!(q.flag("a") && !q.flag("b") && !q.flag("c") && !q.flag("d") && q.flag("e") && !q.flag("gone"));
        assert_eq!((q.get("name"), q.get("c"), q.get("p")), (Some("x/y z"), None, Some("%zz%4")));
        assert_eq!(q.number::<i64>("n").unwrap(), Some(12));
        assert_eq!(q.number::<i64>("gone").unwrap(), None);
        assert!(q.number::<i64>("bad").unwrap_err().text().contains("bad"));
        assert_eq!(Query::parse("x=1&y=2&x=&x=3").all("x").collect::<Vec<_>>(), ["1", "3"]);
        assert!(q.refuse(&["b", "gone"]).is_ok());
        assert!(q.refuse(&["gone", "e"]).unwrap_err().text().contains('e'));
        assert_eq!(decode("a+b%20c", false), "a+b c");
    }

    #[test]
    fn moments() {
        for (text, nanos) in [
            ("0", 0),
            ("12", 12_000_000_000),
            ("12.5", 12_500_000_000),
            ("12.000000001", 12_000_000_001),
            ("1970-01-01T00:00:01Z", 1_000_000_000),
            ("1970-01-01T01:00:01+01:00", 1_000_000_000),
            ("-1.5", -1_500_000_000),
        ] {
            assert_eq!(timestamp(text).unwrap().as_nanosecond(), nanos, "{text}");
        }
        for bad in ["", ".", "x", "1.0000000001", "1-2", "99999999999999999999", "1.2.3"] {
            assert!(timestamp(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn bodies_are_json_or_nothing() {
        #[derive(Debug, Default, PartialEq, serde::Deserialize)]
        struct Doc {
            a: i32,
        }
        let read = |text: &'static str, kind| RequestBody::Whole(Bytes::from_static(text.as_bytes())).json::<Doc>(kind);
        assert_eq!(read(r#"{"a":1}"#, Some("application/json; charset=utf-8")).await.unwrap(), Doc { a: 1 });
        assert_eq!(read("", Some("text/plain")).await.unwrap(), Doc::default());
        assert!(read(r#"{"a":1}"#, Some("text/plain")).await.unwrap_err().text().contains("text/plain"));
        for bad in [r#"{"a":"#, r#"{"a":1} x"#, r#"{"a":"1"}"#] {
            assert!(read(bad, None).await.unwrap_err().text().starts_with("invalid JSON: "), "{bad}");
        }
        let big = RequestBody::Whole(Bytes::from(vec![b' '; MAX_DOCUMENT + 1])).json::<Doc>(None).await;
        assert!(big.unwrap_err().text().contains("larger"));
    }
}
