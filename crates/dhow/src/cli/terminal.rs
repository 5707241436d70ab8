//! The caller's terminal: its size, and raw mode that is always undone.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Rows and columns of the terminal behind standard output, or standard input.
pub fn size() -> Option<(u16, u16)> {
    let of = |fd: &dyn Fn() -> rustix::io::Result<rustix::termios::Winsize>| fd().ok();
    of(&|| tcgetwinsize(std::io::stdout()))
        .or_else(|| of(&|| tcgetwinsize(std::io::stdin())))
        .filter(|s| s.ws_row > 0 && s.ws_col > 0)
        .map(|s| (s.ws_row, s.ws_col))
}

/// Whether standard input is a terminal.
pub fn is_input() -> bool {
    std::io::stdin().is_terminal()
}

/// Whether standard output is a terminal.
pub fn is_output() -> bool {
    std::io::stdout().is_terminal()
}

/// Raw mode of standard input, until dropped.
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Switches raw mode on; `None` if standard input is no terminal.
    pub fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(stdin.as_fd()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin.as_fd(), OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Drain, &self.before);
    }
}

/// Standard input's terminal does not show what is typed, until dropped.
pub struct Silent {
    before: Termios,
}

impl Silent {
    /// Begins; an error if standard input is no terminal.
    pub fn enter() -> std::io::Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin.as_fd(), OptionalActions::Now, &silent)?;
        Ok(Self { before })
    }

    /// How the terminal was.
    pub fn before(&self) -> &Termios {
        &self.before
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Now, &self.before);
    }
}
