//! Lists of CPUs and memory nodes (`0-3,7`), checked before they reach the kernel. Pure.
//!
//! The numbers are bounded, and a range is never expanded, so a hostile list such as `0-9999999999` costs nothing.

use dhow_types::{Error, Result};

/// The kernel's own largest number of CPUs (`NR_CPUS`) on any distribution.
const MAX_NUMBER: u32 = 8192;
/// The kernel takes no longer value.
const MAX_LEN: usize = 4095;

/// Checks `list`, which `field` holds.
pub(crate) fn check(field: &str, list: &str) -> Result<()> {
    let refuse = |why: &str| {
        let shown: String = list.chars().take(40).collect();
        Err(Error::invalid(format!("{field}: {shown:?} is not a list like 0-3,7: {why}")))
    };
    if list.len() > MAX_LEN {
        return refuse("it is longer than 4095 bytes");
    }
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        match (number(from), number(to)) {
            (Some(a), Some(b)) if a <= b => {}
            (Some(_), Some(_)) => return refuse("a range runs backwards"),
            _ => return refuse("a number is missing, has other characters, or is 8192 or more"),
        }
    }
    Ok(())
}

fn number(text: &str) -> Option<u32> {
    // `parse` alone would take a leading plus sign.
    let plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| plain && *n < MAX_NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_or_refused_by_name() {
        for good in ["0", "0-3", "0,2,4-7", "8191", "0-8191"] {
            assert!(check("cpu.cpus", good).is_ok(), "{good}");
        }
        for bad in
            ["", ",", "0,", "a", "3-1", "-1", "1-", "0-8192", "0-99999999999", "+1", "0 1", "0-31:2/16", "1\n2", "0--1"]
        {
            let e = check("cpu.cpus", bad).unwrap_err();
            assert!(e.text().starts_with("cpu.cpus: "), "{e}");
        }
        assert!(check("cpu.cpus", &"1,".repeat(100_000)).is_err());
    }
}
