//! What the engine tells a shim about a receiver of the container's output: a part of the protocol, plain data.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Lines go to a receiver, besides the log that the engine can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendConfig {
    /// Who gets them.
    pub receiver: Receiver,
    /// Bytes that may wait for the receiver before lines are dropped (`mode=non-blocking`). `None`: the program waits
    /// for a receiver that is slow.
    #[serde(default)]
    pub ring: Option<u64>,
}

/// A receiver of lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Receiver {
    /// A syslog daemon.
    Syslog(SyslogConfig),
    /// systemd's journal, by its native protocol.
    Journal {
        /// Its socket.
        socket: PathBuf,
        /// Fields of every entry.
        fields: Vec<(String, String)>,
    },
}

/// How a syslog daemon is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyslogConfig {
    /// Where it is.
    pub address: SyslogAddress,
    /// 0 to 23.
    pub facility: u8,
    /// The form of a message.
    pub format: SyslogFormat,
    /// Stands before each line.
    pub tag: String,
    /// The name of this machine.
    pub hostname: String,
    /// Local time: from this second of 1970 on, so many seconds east of UTC. Ordered; the first row also holds for
    /// what lies before it.
    pub offsets: Vec<(i64, i32)>,
}

/// Where a syslog daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyslogAddress {
    /// Wherever it is found on this machine (`/dev/log` and others).
    Local,
    /// A unix stream socket.
    Unix(PathBuf),
    /// A unix datagram socket.
    Unixgram(PathBuf),
    /// Datagrams to the first of these that can be reached.
    Udp(Vec<SocketAddr>),
    /// A connection to the first of these that takes it.
    Tcp(Vec<SocketAddr>),
}

/// The form of a syslog message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyslogFormat {
    /// RFC 3164 without the host's name, as programs speak to the local daemon.
    Local,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424, seconds.
    Rfc5424,
    /// RFC 5424, microseconds.
    Rfc5424Micro,
}
