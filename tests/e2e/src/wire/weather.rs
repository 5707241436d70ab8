//! What befalls the connections of a server whatever is said on them: breaks after so many bytes, and deafness.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result, Write};
use std::sync::Mutex;

/// The next breaks, and whether anybody is let in.
#[derive(Default)]
pub struct Weather(Mutex<State>);

#[derive(Default)]
struct State {
    /// Bytes to the breaks that are to come, each counted from the one before.
    breaks: VecDeque<u64>,
    /// Whether nobody is let in after the last of them.
    then_deaf: bool,
    deaf: bool,
}

impl Weather {
    /// Breaks a connection whenever so many further bytes have been sent; after the last one lets nobody in, if wished.
    pub fn breaks(&self, after: &[u64], then_deaf: bool) {
        let mut state = self.0.lock().unwrap();
        state.breaks = after.iter().copied().collect();
        state.then_deaf = then_deaf;
    }

    /// Lets nobody in, or all.
    pub fn deaf(&self, deaf: bool) {
        self.0.lock().unwrap().deaf = deaf;
    }

    /// Whether nobody is let in.
    pub fn is_deaf(&self) -> bool {
        self.0.lock().unwrap().deaf
    }

    /// How many of so many bytes get through; fewer than all where the connection breaks.
    fn through(&self, bytes: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        if state.deaf {
            return 0;
        }
        match state.breaks.front_mut() {
            None => bytes,
            Some(left) if *left > bytes => {
                *left -= bytes;
                bytes
            }
            Some(left) => {
                let through = *left;
                state.breaks.pop_front();
                state.deaf = state.breaks.is_empty() && state.then_deaf;
                // The break is behind the last byte of these: they all arrive, and what follows does not.
                through.min(bytes.saturating_sub(1))
            }
        }
    }
}

/// A way to the client under this weather.
pub struct Exposed<'a, W>(pub &'a mut W, pub &'a Weather);

impl<W: Write> Write for Exposed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let through = self.1.through(bytes.len() as u64) as usize;
        self.0.write_all(&bytes[..through])?;
        self.0.flush()?;
        if through < bytes.len() {
            return Err(Error::new(ErrorKind::ConnectionAborted, "broken on purpose"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}
