//! Commands run in a container that runs already.

use crate::config::Words;
use crate::document::{document, is_zero};

document! {
    /// The body of `POST /containers/{id}/exec`.
    pub struct ExecCreateRequest {
        user: String,
        privileged: bool,
        tty: bool,
        #[serde(skip_serializing_if = "is_zero")]
        console_size: Option<[u32; 2]>,
        attach_stdin: bool,
        attach_stderr: bool,
        attach_stdout: bool,
        detach_keys: String,
        env: Option<Vec<String>>,
        working_dir: String,
        cmd: Option<Words>,
    }

    /// The body of `POST /exec/{id}/start`.
    pub struct ExecStartRequest {
        detach: bool,
        tty: bool,
        /// Height and width.
        #[serde(skip_serializing_if = "is_zero")]
        console_size: Option<[u32; 2]>,
    }

    /// An answer that names what was made.
    pub struct IdResponse {
        id: String,
    }

    /// The answer to `GET /exec/{id}/json`.
    pub struct ExecInspect {
        #[serde(rename = "ID")]
        id: String,
        running: bool,
        exit_code: Option<i64>,
        process_config: ProcessConfig,
        open_stdin: bool,
        open_stderr: bool,
        open_stdout: bool,
        can_remove: bool,
        #[serde(rename = "ContainerID")]
        container_id: String,
        /// Base64 of the key bytes.
        detach_keys: String,
        pid: i64,
    }

    /// The command of an exec.
    pub struct ProcessConfig {
        #[serde(rename = "tty")]
        tty: bool,
        #[serde(rename = "entrypoint")]
        entrypoint: String,
        #[serde(rename = "arguments")]
        arguments: Vec<String>,
        #[serde(rename = "privileged", skip_serializing_if = "is_zero")]
        privileged: Option<bool>,
        #[serde(rename = "user", skip_serializing_if = "is_zero")]
        user: String,
    }
}
