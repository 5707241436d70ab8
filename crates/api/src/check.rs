//! dhow's own: the lines of `POST /dhow/check`.

use serde::{Deserialize, Serialize};

/// One line: something that was found, or the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckLine {
    /// Something that was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<CheckFinding>,
    /// The last line of a check that came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<CheckDone>,
    /// The last line of one that did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One thing that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFinding {
    /// What it is about: a layer, an image, the database.
    pub about: String,
    /// What is wrong with it.
    pub problem: String,
    /// `mendable`, `mended`, `wrong` or `note`.
    pub outcome: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What was looked at and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDone {
    /// Images.
    pub images: u64,
    /// Layers.
    pub layers: u64,
    /// Bytes of layers that were read.
    pub bytes: u64,
    /// Things that are wrong now.
    pub wrong: u64,
    /// Things that were wrong and are mended.
    pub mended: u64,
}
