//! Signals by name or number, as `kill` and `stop-signal` take them.

use dhow_types::{Error, Result};

const NAMES: [(&str, i32); 35] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
];

/// SIGKILL.
pub const KILL: i32 = 9;
/// SIGTERM.
pub const TERM: i32 = 15;

/// Whether a signal lets a paused container go on: SIGKILL, and what is meant to end it. Rule: Docker's, where a
/// container without a stop signal of its own goes on by any.
pub fn thaws(signal: i32, stop_signal: Option<i32>) -> bool {
    signal == KILL || stop_signal.is_none_or(|own| own == signal)
}

/// The name of a signal, as people write it.
fn name(signo: i32) -> String {
    match (NAMES.iter().find(|(_, n)| *n == signo), signo) {
        (Some((name, _)), _) => format!("SIG{name}"),
        (None, 35..=64) => format!("SIGRTMIN+{}", signo - 34),
        _ => format!("signal {signo}"),
    }
}

/// What is to be known about a stop for which the process did not hear its signal.
pub fn unheeded(program: &str, ignored: bool, signo: i32) -> String {
    let name = name(signo);
    let how = if ignored { format!("ignores {name}") } else { format!("neither handles nor blocks {name}") };
    // The name is the program's own choice, and this becomes a line of a header.
    let program: String = program.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    format!(
        "PID 1 ({program}) {how}, so it was killed at once: use --init, or start the program by exec; -t SECONDS waits"
    )
}

/// The number of a signal.
pub fn parse(text: &str) -> Result<i32> {
    let bad = || Error::invalid(format!("Invalid signal: {text}"));
    if let Ok(n) = text.parse::<i32>() {
        return if (1..=64).contains(&n) { Ok(n) } else { Err(bad()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, n)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*n);
    }
    let offset = |t: &str| t.parse::<i32>().ok();
    match (name.strip_prefix("RTMIN+").and_then(offset), name.strip_prefix("RTMAX-").and_then(offset), name) {
        (Some(n @ 0..=30), _, _) => Ok(34 + n),
        (_, Some(n @ 0..=30), _) => Ok(64 - n),
        (_, _, "RTMAX") => Ok(64),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wakes_a_paused_container() {
        for (signal, stop_signal, want) in
            [(KILL, None, true), (KILL, Some(3), true), (3, Some(3), true), (TERM, Some(3), false), (1, None, true)]
        {
            assert_eq!(thaws(signal, stop_signal), want, "{signal} {stop_signal:?}");
        }
    }

    #[test]
    fn who_does_not_hear_is_told() {
        assert!(unheeded("sh", false, TERM).starts_with("PID 1 (sh) neither handles nor blocks SIGTERM, so"));
        assert!(unheeded("a\r\nb\u{e9}", true, 28).starts_with("PID 1 (a??b?) ignores SIGWINCH, so"));
        for (signo, want) in [(1, "SIGHUP"), (34, "SIGRTMIN"), (37, "SIGRTMIN+3"), (33, "signal 33")] {
            assert_eq!(name(signo), want);
        }
    }

    #[test]
    fn table() {
        for (text, want) in [
            ("9", 9),
            ("KILL", 9),
            ("sigkill", 9),
            ("SIGTERM", 15),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("RTMAX", 64),
            ("winch", 28),
        ] {
            assert_eq!(parse(text).unwrap(), want, "{text}");
        }
        for bad in ["", "0", "65", "-9", "SIGNOPE", "RTMIN+99", "SIGSIGKILL"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
