//! Names: which are allowed, and one for a container that came without.

use dhow_types::{Error, Result};

/// Longest name.
const MAX_NAME: usize = 255;

/// Checks a container's name. Rule: Docker's `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub fn check_container(name: &str) -> Result<()> {
    check(name).then_some(()).ok_or_else(|| {
        Error::invalid(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"))
    })
}

/// Checks a volume's name, by the same rule.
pub fn check_volume(name: &str) -> Result<()> {
    check(name).then_some(()).ok_or_else(|| {
        Error::invalid(format!(
            "{name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
             allowed. If you intended to pass a host directory, use absolute path"
        ))
    })
}

fn check(name: &str) -> bool {
    let mut bytes = name.bytes();
    (2..=MAX_NAME).contains(&name.len())
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// An adjective and a noun of the sea. `number` is random; retries beyond the first add its digits.
pub fn draw(number: u64, attempt: u32) -> String {
    let adjective = ADJECTIVES[(number % ADJECTIVES.len() as u64) as usize];
    let noun = NOUNS[(number / 1009 % NOUNS.len() as u64) as usize];
    match attempt {
        0 => format!("{adjective}_{noun}"),
        _ => format!("{adjective}_{noun}{}", number / 1_000_003 % 10u64.pow(attempt.min(9))),
    }
}

const ADJECTIVES: [&str; 64] = [
    "able", "amber", "ample", "azure", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "coral", "crisp",
    "daring", "deep", "eager", "early", "easy", "fair", "fast", "fine", "firm", "fleet", "fond", "fresh", "gentle",
    "glad", "golden", "grand", "happy", "hardy", "keen", "kind", "lively", "lucky", "lunar", "merry", "mild", "modest",
    "neat", "noble", "patient", "plucky", "polite", "prime", "proud", "quick", "quiet", "rapid", "ready", "silver",
    "smooth", "snug", "solid", "steady", "sunny", "swift", "tidal", "tidy", "trusty", "vivid", "warm", "wise", "witty",
];

const NOUNS: [&str; 64] = [
    "anchor",
    "atoll",
    "barge",
    "bay",
    "beacon",
    "boom",
    "bow",
    "breeze",
    "brig",
    "buoy",
    "cape",
    "capstan",
    "captain",
    "clipper",
    "coast",
    "compass",
    "cove",
    "current",
    "cutter",
    "deck",
    "delta",
    "dock",
    "dolphin",
    "fathom",
    "ferry",
    "fjord",
    "galleon",
    "gull",
    "harbour",
    "heron",
    "island",
    "isle",
    "jetty",
    "keel",
    "ketch",
    "lagoon",
    "lantern",
    "lateen",
    "lighthouse",
    "lugger",
    "mast",
    "monsoon",
    "navigator",
    "oar",
    "orca",
    "osprey",
    "pelican",
    "pilot",
    "port",
    "prow",
    "reef",
    "rudder",
    "sail",
    "sailor",
    "schooner",
    "sextant",
    "shoal",
    "sloop",
    "spar",
    "star",
    "tern",
    "tide",
    "voyage",
    "yawl",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["ab", "a1", "web-1", "A_b.c", "0x"] {
            assert!(check_container(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "-a", ".a", "a/b", "a b", "../x", "ä1", "a\nb"] {
            assert!(check_container(bad).is_err(), "{bad}");
        }
        assert!(check_container(&"a".repeat(256)).is_err());
    }

    #[test]
    fn drawn_names_are_names() {
        for i in 0..5000u64 {
            let n = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            check_container(&draw(n, 0)).unwrap();
            check_container(&draw(n, 3)).unwrap();
        }
    }
}
