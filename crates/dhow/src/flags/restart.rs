//! `--restart`: Docker's small language for restart policies. What a policy means, the daemon knows.

use anyhow::{Result, bail};
use dhow_api::RestartPolicy;

/// `NAME[:COUNT]`; an empty text is no policy.
pub fn policy(text: &str) -> Result<RestartPolicy> {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() && !text.is_empty() {
        bail!("invalid restart policy format: no policy provided before colon");
    }
    let maximum_retry_count = match count {
        "" => 0,
        // With a sign, as Docker's client takes it.
        count => match count.parse() {
            Ok(count) => count,
            Err(_) => bail!("invalid restart policy format: maximum retry count must be an integer"),
        },
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_dockers_client() {
        for (text, name, count) in [
            ("", "", 0),
            ("no", "no", 0),
            ("always", "always", 0),
            ("on-failure:3", "on-failure", 3),
            ("on-failure:", "on-failure", 0),
            ("on-failure:-1", "on-failure", -1),
            // The daemon refuses it.
            ("nonsense", "nonsense", 0),
        ] {
            assert_eq!(
                policy(text).unwrap(),
                RestartPolicy { name: name.into(), maximum_retry_count: count },
                "{text}"
            );
        }
        for (text, why) in
            [(":", "before colon"), (":3", "before colon"), ("always:x", "integer"), ("a:1:2", "integer")]
        {
            assert!(policy(text).unwrap_err().to_string().contains(why), "{text}");
        }
    }
}
