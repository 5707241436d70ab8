//! Real zygotes and shims with real containers. Needs root and namespaces; touches only what it made itself.
//!
//! The test program has its own `main`, because it is the zygote's program too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::exit, missing_docs)]

mod control;
mod costs;
mod execs;
mod groups;
mod life;
mod place;
mod stops;
mod streams;
mod terminals;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A named test.
pub type Case = (&'static str, fn());

fn main() {
    let mut args = std::env::args_os();
    args.next();
    if args.next().is_some_and(|first| first == "zygote") {
        std::process::exit(dhow_shim::zygote_main(args.collect()));
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let only: Vec<&String> = words.iter().filter(|w| !w.starts_with('-')).collect();
    let cases = [
        streams::CASES,
        terminals::CASES,
        execs::CASES,
        control::CASES,
        life::CASES,
        stops::CASES,
        groups::CASES,
        costs::CASES,
    ];
    let cases: Vec<&Case> = cases
        .into_iter()
        .flatten()
        .filter(|(name, _)| only.is_empty() || only.iter().any(|o| name.contains(*o)))
        .collect();
    if words.iter().any(|w| w == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    println!("\nrunning {} tests", cases.len());
    let mut failed = 0;
    for (name, case) in &cases {
        let ok = catch_unwind(AssertUnwindSafe(case)).is_ok();
        failed += usize::from(!ok);
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let passed = cases.len() - failed;
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n");
    std::process::exit(i32::from(failed > 0));
}
