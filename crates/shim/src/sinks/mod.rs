//! Receivers of a container's output besides its log: a syslog daemon, systemd's journal.
//!
//! `lines` cuts, `syslog` and `journal` write one message, `channel` brings it to its receiver. What is kept on disk
//! never lives here.

mod channel;
pub mod config;
mod connect;
mod journal;
mod lines;
mod queue;
mod syslog;
#[cfg(test)]
mod tests;

use crate::log::Stream;
use crate::reactor::{EventFlags, Reactor};
use channel::Channel;
use config::{Receiver, SendConfig, SyslogConfig};
use dhow_types::Result;
use journal::Entries;
use lines::{Lines, Piece, Time};
use std::time::Instant;

/// What writes messages.
#[derive(Debug)]
enum Codec {
    Syslog(Box<SyslogConfig>, i32),
    Journal(Entries),
}

/// A receiver and what is on its way to it.
#[derive(Debug)]
pub struct Sink {
    lines: Lines,
    codec: Codec,
    channel: Channel,
}

impl Sink {
    /// Connects to the receiver.
    pub fn open(config: SendConfig) -> Result<Self> {
        let SendConfig { receiver, ring } = config;
        let codec = match &receiver {
            Receiver::Syslog(config) => {
                Codec::Syslog(Box::new(config.clone()), rustix::process::getpid().as_raw_nonzero().get())
            }
            Receiver::Journal { fields, .. } => Codec::Journal(Entries::new(fields)),
        };
        Ok(Self { lines: Lines::default(), codec, channel: Channel::open(receiver, ring)? })
    }

    /// Sends output.
    pub fn write(&mut self, stream: Stream, data: &[u8]) {
        let Self { lines, codec, channel } = self;
        let mut message = Vec::new();
        lines.write(stream, data, Time::now(), |piece| send(codec, channel, &piece, &mut message));
    }

    /// `stream` has ended.
    pub fn finish(&mut self, stream: Stream) {
        let Self { lines, codec, channel } = self;
        lines.finish(stream, Time::now(), |piece| send(codec, channel, &piece, &mut Vec::new()));
    }

    /// The receiver is so far behind that the program must wait.
    pub fn is_full(&self) -> bool {
        self.channel.is_full()
    }

    /// Its socket is ready for something.
    pub fn ready(&mut self, flags: EventFlags) {
        self.channel.ready(flags);
    }

    /// When something is due without an event.
    pub fn deadline(&self) -> Option<Instant> {
        self.channel.deadline()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        self.channel.tick(now);
    }

    /// Watches for what is wanted now.
    pub fn watch(&mut self, reactor: &Reactor) {
        self.channel.watch(reactor);
    }

    #[cfg(test)]
    fn channel_is_empty(&self) -> bool {
        self.channel.waiting() == 0
    }

    #[cfg(test)]
    fn channel_len(&self) -> usize {
        self.channel.waiting()
    }

    /// The container has ended. Returns how many messages nobody got.
    pub fn close(self) -> u64 {
        self.channel.close()
    }
}

fn send(codec: &mut Codec, channel: &mut Channel, piece: &Piece<'_>, message: &mut Vec<u8>) {
    message.clear();
    let wanted = match codec {
        Codec::Syslog(config, pid) => syslog::encode(config, *pid, piece, message),
        Codec::Journal(entries) => {
            entries.encode(piece, message);
            true
        }
    };
    if wanted {
        channel.push(message);
    }
}
