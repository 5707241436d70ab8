//! What a registry says in an error's body, in Docker's words. Rule: distribution-spec "Error Codes", and how Docker's
//! client reads answers that do not follow it.

use http::StatusCode;
use serde::Deserialize;

/// A registry's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// The code, e.g. `MANIFEST_UNKNOWN`; empty if it gave none.
    pub code: String,
    /// `manifest unknown: …`.
    pub text: String,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Entry>,
    #[serde(default)]
    details: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: serde_json::Value,
    #[serde(default)]
    message: String,
}

/// The most of a body that is repeated in a message.
const MOST: usize = 512;

/// Reads the body of an answer that is no success.
pub(crate) fn read(status: StatusCode, body: &[u8]) -> Words {
    if !status.is_client_error() {
        let text = format!("received unexpected HTTP status: {}", line(status));
        return Words { code: String::new(), text };
    }
    let fallback = match status.as_u16() {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        404 => "",
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    };
    let parsed: Option<Body> = serde_json::from_slice(body).ok();
    let (code, message) = match parsed {
        Some(Body { errors, .. }) if !errors.is_empty() => {
            let code = errors[0].code.as_str().map_or_else(|| fallback.to_owned(), str::to_owned);
            (code, errors[0].message.clone())
        }
        Some(Body { details, .. }) if !details.is_empty() => (fallback.to_owned(), details),
        _ => (fallback.to_owned(), String::from_utf8_lossy(body).into_owned()),
    };
    let message = printable(&message);
    let said = printable(&code).to_lowercase().replace('_', " ");
    let text = match (said.as_str(), message.as_str()) {
        ("", "") => line(status),
        ("", message) => format!("{}: {message}", line(status)),
        (said, "") => said.to_owned(),
        (said, message) => format!("{said}: {message}"),
    };
    Words { code, text }
}

/// `404 Not Found`.
pub(crate) fn line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Foreign text in one line without control characters, and of bounded length.
pub(crate) fn printable(text: &str) -> String {
    let mut out: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
    if text.trim().chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_words() {
        let unknown =
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}},{"code":"X"}]}"#;
        for (status, body, code, text) in [
            (404, unknown, "MANIFEST_UNKNOWN", "manifest unknown: manifest unknown"),
            (
                403,
                r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
                "DENIED",
                "denied: requested access to the resource is denied",
            ),
            (
                401,
                r#"{"details":"incorrect username or password"}"#,
                "UNAUTHORIZED",
                "unauthorized: incorrect username or password",
            ),
            (429, "slow down\r\n", "TOOMANYREQUESTS", "toomanyrequests: slow down"),
            (400, r#"{"errors":[]}"#, "UNKNOWN", r#"unknown: {"errors":[]}"#),
            (404, "", "", "404 Not Found"),
            (502, unknown, "", "received unexpected HTTP status: 502 Bad Gateway"),
            (400, r#"{"errors":[{"code":7,"message":"x\u001b[31m\ny"}]}"#, "UNKNOWN", "unknown: x [31m y"),
        ] {
            let words = read(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!((words.code.as_str(), words.text.as_str()), (code, text), "{status} {body}");
        }
        assert!(read(StatusCode::BAD_REQUEST, &vec![b'x'; 9999]).text.len() < 600);
    }
}
