//! What happens to an image on its way, as the JSON lines of Docker's progress.

use dhow_api as api;
use dhow_engine::view::TransferEvent;

/// One line.
pub(crate) fn line(event: TransferEvent) -> api::JsonMessage {
    let size = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    match event {
        TransferEvent::Status { id, text } => {
            // Clients give a line of its own to what has a progress, be it an empty one, and know by it that the line may
            // change. What is said of the whole image under its tag has none.
            let of_a_part = !id.is_empty() && !text.starts_with("Pulling from ");
            let progress_detail = of_a_part.then(api::ProgressDetail::default);
            api::JsonMessage { id, status: text, progress_detail, ..Default::default() }
        }
        TransferEvent::Progress { id, action, current, total } => api::JsonMessage {
            id,
            status: action.to_owned(),
            progress_detail: Some(api::ProgressDetail {
                current: size(current),
                total: size(total),
                ..Default::default()
            }),
            ..Default::default()
        },
        TransferEvent::Pushed { tag, digest, size } => api::JsonMessage {
            aux: Some(serde_json::json!({"Tag": tag, "Digest": digest.to_string(), "Size": size})),
            ..Default::default()
        },
        TransferEvent::Failed(error) => api::JsonMessage::error(error.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::{Digest, Error};

    #[test]
    fn dockers_lines() {
        let progress = TransferEvent::Progress { id: "abc".into(), action: "Downloading", current: 1, total: 2 };
        let pushed = TransferEvent::Pushed { tag: "latest".into(), digest: Digest::of(b""), size: 7 };
        for (event, want) in [
            (TransferEvent::line("x"), r#"{"status":"x"}"#.to_owned()),
            (
                TransferEvent::status("abc", "Pull complete"),
                r#"{"status":"Pull complete","progressDetail":{},"id":"abc"}"#.to_owned(),
            ),
            (
                TransferEvent::status("latest", "Pulling from x"),
                r#"{"status":"Pulling from x","id":"latest"}"#.to_owned(),
            ),
            (progress, r#"{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"abc"}"#.to_owned()),
            (pushed, format!(r#"{{"aux":{{"Digest":"{}","Size":7,"Tag":"latest"}}}}"#, Digest::of(b""))),
            (TransferEvent::Failed(Error::system("no")), r#"{"errorDetail":{"message":"no"},"error":"no"}"#.to_owned()),
        ] {
            assert_eq!(serde_json::to_string(&line(event)).unwrap(), want);
        }
    }
}
