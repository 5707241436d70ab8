//! The fuzz targets of the archive reader. `DHOW_FUZZ` names the target; with the feature `engine` the arguments are
//! libFuzzer's, without it they are files, each of which is run once.
//!
//! What a target checks stands in `targets`; how it is run for a while, in `xtask/src/fuzz.rs`.

#![cfg_attr(feature = "engine", no_main)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for tests")]

mod draw;
mod layout;
mod place;
mod seal;
mod seeds;
mod targets;

use std::sync::OnceLock;
use targets::Target;

/// The target that was asked for.
fn target() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = std::env::var("DHOW_FUZZ").unwrap_or_default();
        let found = targets::ALL.iter().find(|t| t.0 == name);
        found.unwrap_or_else(|| panic!("DHOW_FUZZ={name}: want one of {:?}", targets::ALL.map(|t| t.0))).1
    })
}

#[cfg(feature = "engine")]
libfuzzer_sys::fuzz_target!(|input: &[u8]| target()(input));

#[cfg(not(feature = "engine"))]
fn main() {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("--seeds") => seeds::write(std::path::Path::new(&words.next().expect("--seeds DIR"))),
        first => {
            let files: Vec<&str> = first.into_iter().collect();
            for file in files.into_iter().map(str::to_owned).chain(words) {
                target()(&std::fs::read(&file).unwrap());
                println!("{file}: nothing wrong");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{seeds, targets};

    /// Every seed runs through its target: what a fuzzer found once stays found.
    #[test]
    fn every_seed_is_handled() {
        for (name, target) in targets::ALL {
            let seeds = seeds::of(name);
            assert!(seeds.len() > 3, "{name}: {} seeds", seeds.len());
            seeds.iter().for_each(|seed| target(seed));
        }
    }
}
