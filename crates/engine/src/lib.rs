//! Containers, images, volumes and networks: state machines, pure plans and persistence.
//!
//! Never here: HTTP, the Engine API's documents, command lines, and the runtime itself. What a container's process
//! looks like is decided in [`plan`]; it is carried out by the shim, one small process per container, so that
//! containers never depend on the life of the engine.

mod access;
mod archives;
mod audit;
mod check;
mod commit;
pub mod config;
mod container;
mod copyup;
mod core;
mod engine;
pub mod events;
mod exec;
mod holds;
mod images;
mod info;
mod layers;
mod link;
mod list;
mod logs;
mod machine;
mod network;
mod open;
mod pause;
pub mod plan;
mod pull;
mod push;
mod reach;
mod record;
mod registry;
pub mod remote;
mod seccomp;
pub mod settings;
mod shown;
pub mod space;
mod stats;
mod stop;
mod stuck;
mod top;
mod trash;
mod undo;
mod users;
pub mod view;
mod volumes;
mod wait;

pub use access::{DistributionView, SearchRequest};
pub use audit::{DiffEvent, DiffImage, DiffStream, HistoryRow, TreeRow};
pub use check::check_root;
pub use config::{
    AttachRequest, CommitRequest, CreateRequest, ExecRequest, ExecStart, ImportRequest, ListRequest, LogsRequest,
    PruneRequest, WaitCondition,
};
pub use container::attach::AttachTicket;
pub use dhow_distribution::{Credentials, Hit};
pub use dhow_store::Compression;
pub use dhow_store::merged::compare::{Change, Kind as ChangeKind, Side};
pub use dhow_store::{ImageChange, Step};
pub use engine::{Engine, LoadStream, SaveStream, WaitTicket};
pub use events::{Event, EventStream, EventsRequest, Filters as EventFilters};
pub use pull::{PullRequest, TransferStream};
pub use push::PushRequest;
pub use settings::Settings;
pub use stats::StatsRequest;
pub use top::TopView;
pub use view::LogStream;
