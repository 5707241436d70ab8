//! Where complaints go: stderr, and the file of `--log` in the format that containerd and others read back.

use super::time;
use dhow_types::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// The places to write to.
#[derive(Default)]
pub(crate) struct Sink {
    file: Option<File>,
    json: bool,
}

impl Sink {
    pub(crate) fn new(file: Option<&str>, format: Option<&str>) -> Result<Self> {
        let json = match format {
            None | Some("" | "text") => false,
            Some("json") => true,
            Some(other) => return Err(Error::invalid(format!("--log-format {other:?} is neither text nor json"))),
        };
        let file = match file {
            None | Some("") => None,
            Some(path) => Some(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o644)
                    .open(path)
                    .map_err(|e| Error::from(e).prefixed(format!("--log {path}")))?,
            ),
        };
        Ok(Self { file, json })
    }

    /// The error a command ends with.
    pub(crate) fn error(&mut self, e: &Error, stderr: &mut dyn Write) {
        // Nowhere to complain about a complaint.
        let _ = writeln!(stderr, "dhow oci: {}", e.text());
        self.file_line("error", e.text());
    }

    /// What was clamped or left out.
    pub(crate) fn warnings(&mut self, warnings: &[String], stderr: &mut dyn Write) {
        for warning in warnings {
            let _ = writeln!(stderr, "dhow oci: warning: {warning}");
            self.file_line("warning", warning);
        }
    }

    fn file_line(&mut self, level: &str, text: &str) {
        let Some(file) = &mut self.file else { return };
        let now = time::now();
        let line = if self.json {
            serde_json::json!({ "level": level, "msg": text, "time": now }).to_string()
        } else {
            format!("time={now:?} level={level} msg={text:?}")
        };
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}
