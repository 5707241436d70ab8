//! The stream of JSON lines that load, pull, push and build give: one [`JsonMessage`] a line, CR LF at its end.

use crate::document::{document, is_zero};

document! {
    /// One line of progress. An error, too, comes as a line, for the status has long been sent.
    pub struct JsonMessage {
        #[serde(rename = "stream", skip_serializing_if = "is_zero")]
        stream: String,
        #[serde(rename = "status", skip_serializing_if = "is_zero")]
        status: String,
        #[serde(rename = "progressDetail", skip_serializing_if = "is_zero")]
        progress_detail: Option<ProgressDetail>,
        #[serde(rename = "progress", skip_serializing_if = "is_zero")]
        progress: String,
        #[serde(rename = "id", skip_serializing_if = "is_zero")]
        id: String,
        #[serde(rename = "from", skip_serializing_if = "is_zero")]
        from: String,
        #[serde(rename = "errorDetail", skip_serializing_if = "is_zero")]
        error_detail: Option<ErrorDetail>,
        #[serde(rename = "error", skip_serializing_if = "is_zero")]
        error: String,
        #[serde(rename = "aux", skip_serializing_if = "is_zero")]
        aux: Option<serde_json::Value>,
    }

    /// How far something is.
    pub struct ProgressDetail {
        #[serde(rename = "current", skip_serializing_if = "is_zero")]
        current: i64,
        #[serde(rename = "total", skip_serializing_if = "is_zero")]
        total: i64,
        #[serde(rename = "start", skip_serializing_if = "is_zero")]
        start: i64,
        #[serde(rename = "hidecounts", skip_serializing_if = "is_zero")]
        hide_counts: bool,
        #[serde(rename = "units", skip_serializing_if = "is_zero")]
        units: String,
    }

    /// What went wrong.
    pub struct ErrorDetail {
        #[serde(rename = "code", skip_serializing_if = "is_zero")]
        code: i64,
        #[serde(rename = "message")]
        message: String,
    }
}

impl JsonMessage {
    /// A line of output.
    pub fn stream(text: impl Into<String>) -> Self {
        Self { stream: text.into(), ..Self::default() }
    }
    /// The line that ends a stream with a failure.
    pub fn error(text: impl Into<String>) -> Self {
        let message: String = text.into();
        Self { error: message.clone(), error_detail: Some(ErrorDetail { code: 0, message }), ..Self::default() }
    }
}
