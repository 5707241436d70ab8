//! Credentials in `DOCKER_AUTH_CONFIG`: a document as `auths` of config.json is, with `auth` alone. They go before all
//! others, and are never written down.

use super::login::{Login, decode};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The variable.
pub const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    auths: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Entry {
    auth: String,
}

/// The variable's text, if it is set.
pub fn text() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|text| !text.is_empty())
}

/// Its logins, or what is wrong with it, without any of its text.
pub fn read(text: &str) -> Result<Vec<Login>, String> {
    let all: Document = match serde_json::from_str(text) {
        Ok(all) => all,
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            return Err(format!(
                "it is not {{\"auths\":{{\"HOST\":{{\"auth\":\"BASE64\"}}}}}} (line {line}, column {column})"
            ));
        }
    };
    all.auths
        .into_iter()
        .map(|(server, entry)| match entry.auth.as_str() {
            "" => Err(format!("{VARIABLE} environment variable is missing key `auth` for {server}")),
            auth => match decode(auth) {
                Some((user, password)) => Ok(Login { user, password, server, ..Login::default() }),
                None => Err(format!("`auth` for {server} is not base64 of NAME:PASSWORD")),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_of_the_variable() {
        let all = read(r#"{"auths":{"a:1":{"auth":"bWU6YQ=="},"b":{"auth":"eDp5"}}}"#).unwrap();
        let all: Vec<_> = all.iter().map(|l| (l.server.as_str(), l.user.as_str(), l.password.as_str())).collect();
        assert_eq!(all, [("a:1", "me", "a"), ("b", "x", "y")]);
        for (text, part) in [
            ("{\"auths\":{\"a\":{\"auth\":\"bWU6YQ==\",\"email\":\"x\"}}}", "it is not"),
            ("{\"auths\":{\"a\":{}}}", "missing key `auth` for a"),
            ("{\"auths\":{\"a\":{\"auth\":\"secret!\"}}}", "not base64"),
            ("{} {}", "it is not"),
            ("secret", "it is not"),
        ] {
            let said = read(text).map(|all| all.len()).unwrap_err();
            assert!(said.contains(part) && !said.contains("secret"), "{text}: {said}");
        }
        assert!(read("{}").unwrap().is_empty());
    }
}
