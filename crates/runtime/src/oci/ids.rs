//! Ids, signals, users: the small words of the command line, taken apart strictly.

use dhow_types::{Error, Result};

/// The longest id; it is a file name.
const MAX_ID: usize = 255;

/// Checks a container's id: a plain file name of runc's letters.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let fine = !id.is_empty()
        && id.len() <= MAX_ID
        && id != "."
        && id != ".."
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-.".contains(&b));
    match fine {
        true => Ok(()),
        false => {
            Err(Error::invalid(format!("container id {id:?}: letters, digits and _ + - . only, at most {MAX_ID}")))
        }
    }
}

/// The numbers of the names, from 1 (the same on x86_64 and aarch64).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// A signal by number or name, with or without SIG, in any case; also `RTMIN+n` and `RTMAX-n`.
pub(crate) fn signal(text: &str) -> Result<i32> {
    let bad = || Error::invalid(format!("unknown signal {text:?}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(bad()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = SIGNALS.iter().position(|s| *s == name) {
        return Ok(at as i32 + 1);
    }
    let offset = |rest: &str, sign: &str| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<i32>().ok().filter(|n| (0..=30).contains(n)),
    };
    if let Some(n) = name.strip_prefix("RTMIN").and_then(|rest| offset(rest, "+")) {
        return Ok(34 + n);
    }
    if let Some(n) = name.strip_prefix("RTMAX").and_then(|rest| offset(rest, "-")) {
        return Ok(64 - n);
    }
    match name {
        "IOT" => Ok(6),
        "CLD" => Ok(17),
        "POLL" => Ok(29),
        _ => Err(bad()),
    }
}

/// `UID[:GID]`, digits only: a name, a sign, a space or a number that wraps must never come out as root (2026-30892).
pub(crate) fn user(text: &str) -> Result<(u32, Option<u32>)> {
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid)),
        None => (text, None),
    };
    Ok((id(uid, text)?, gid.map(|g| id(g, text)).transpose()?))
}

fn id(part: &str, whole: &str) -> Result<u32> {
    let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match part.parse::<u32>() {
        Ok(id) if digits && id <= i32::MAX as u32 => Ok(id),
        _ => Err(Error::invalid(format!("--user {whole:?}: numbers up to 2147483647 are needed, as UID or UID:GID"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_file_names() {
        for id in ["a", "a.b-c_d+E9", "..."] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(256)] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn signals() {
        for (text, want) in
            [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+3", 37), ("RTMAX", 64), ("RTMAX-1", 63), ("WINCH", 28)]
        {
            assert_eq!(signal(text).unwrap(), want, "{text}");
        }
        for text in ["", "0", "65", "-1", "FOO", "SIGRTMIN-1", "RTMIN+99"] {
            assert!(signal(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn exec_user_matrix() {
        for (text, want) in
            [("0", (0, None)), ("1", (1, None)), ("1:2", (1, Some(2))), ("2147483647", (2147483647, None))]
        {
            assert_eq!(user(text).unwrap(), want);
        }
        for text in [
            "name",
            "name:group",
            "1:group",
            "4294967295",
            "4294967296",
            "2147483648",
            "-1",
            "",
            " 1",
            "1 ",
            "1:",
            ":1",
            "0x1",
            "+1",
            "1:2:3",
        ] {
            assert!(user(text).is_err(), "{text:?}");
        }
    }
}
