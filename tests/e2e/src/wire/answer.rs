//! What a server of the tests was asked, and what it does about it.

use super::http::Head;
use std::time::Duration;

/// What came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// As in the request line, without the query.
    pub path: String,
    /// After the question mark.
    pub query: String,
    /// First line and fields.
    pub head: Head,
    /// The body, where it is small and its length is said; a larger one is passed on or thrown away.
    pub body: Vec<u8>,
}

impl Request {
    /// A field's value, or nothing.
    pub fn field(&self, name: &str) -> &str {
        self.head.field(name)
    }

    /// `METHOD path`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What becomes of a request.
pub enum Act {
    /// This is said.
    Answer(Reply),
    /// It goes to the registry behind, and its answer comes back.
    Forward,
    /// The same, but after so many bytes of the answer's body the connection breaks.
    CutAnswer(u64),
    /// The same, but the answer is lost, head and all.
    LoseAnswer,
    /// The same, but after so many bytes of the answer's body nothing more comes.
    StallAnswer(u64),
    /// The same, but after so many bytes of the request's body the connection breaks, on both sides.
    CutRequest(u64),
    /// The same, but after so many bytes of the request's body nothing more is read.
    StallRequest(u64),
    /// The connection is closed without a word.
    Close,
}

/// What happens to the body of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Then {
    /// All of it is sent.
    Whole,
    /// So many bytes, then the connection is closed.
    Cut(usize),
    /// So many bytes, then silence.
    Stall(usize),
    /// The same bytes again and again, without a length.
    Endless,
    /// So many bytes at a time, with a pause after each piece.
    Drip(usize, Duration),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Fields.
    pub fields: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Said instead of the true length; `Some(None)` says none and closes at the end.
    pub length: Option<Option<u64>>,
    /// What happens to the body.
    pub then: Then,
}

impl Reply {
    /// A whole one.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, fields: Vec::new(), body: body.into(), length: None, then: Then::Whole }
    }

    /// With a field.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.retain(|(n, _)| n != name);
        self.fields.push((name.into(), value.into()));
        self
    }

    /// What happens to the body.
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// A length that is said, true or not.
    pub fn length(mut self, length: Option<u64>) -> Self {
        self.length = Some(length);
        self
    }

    /// A redirect.
    pub fn to(status: u16, location: impl Into<String>) -> Self {
        Self::new(status, "").with("location", location)
    }

    /// An error as registries write it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let text = serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string();
        Self::new(status, text).with("content-type", "application/json")
    }

    /// The head, and whether a length stands in it.
    pub(super) fn head(&self) -> (Vec<u8>, Option<u64>) {
        let true_length = Some(self.body.len() as u64);
        let length = if self.then == Then::Endless { None } else { self.length.unwrap_or(true_length) };
        let mut head = Head { start: format!("HTTP/1.1 {} X", self.status), fields: self.fields.clone() };
        match length {
            Some(length) => head.set("content-length", Some(&length.to_string())),
            None => head.set("connection", Some("close")),
        }
        (head.bytes(), length)
    }
}

impl From<Reply> for Act {
    fn from(reply: Reply) -> Self {
        Self::Answer(reply)
    }
}
