//! A small blocking client of the Engine API over a unix socket.
//!
//! It knows HTTP/1.1, the hijack of attach and exec, and nothing of containers: what a command means
//! lives in the command line. It works against any daemon that speaks the API, so it holds no
//! knowledge of the engine, and it starts no runtime: one request costs one `write` and a few `read`s.

mod body;
mod connection;
mod error;
mod hijack;
mod list;
pub mod query;
mod upload;

pub use body::Body;
pub use connection::{Client, Response};
pub use error::{Error, Result};
pub use hijack::{Hijacked, Multiplexed, Output, demultiplex};
pub use list::each;
pub use upload::Upload;
