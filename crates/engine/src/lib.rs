//! Containers, images, volumes and networks: state machines, pure plans and persistence.
//!
//! Never here: HTTP, the Engine API's documents, command lines, and the runtime itself. What a container's process
//! looks like is decided in [`plan`]; it is carried out by the shim, one small process per container, so that
//! containers never depend on the life of the engine.

pub mod config;
mod engine;
pub mod settings;
pub mod view;

pub use config::{AttachRequest, CreateRequest, ExecRequest, ExecStart, ListRequest, LogsRequest, WaitCondition};
pub use engine::{AttachTicket, Engine, LoadStream, LogStream, WaitTicket};
pub use settings::Settings;
