//! The project's own chores: `cargo xtask COMMAND`. Nothing here is part of the product.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit, reason = "a program for the terminal")]

mod archive;
mod bench;
mod check;
mod cpio;
mod docs;
mod fuzz;
mod images;
mod licences;
mod modules;
mod packages;
mod run;
mod soak;
mod suite;
mod tally;
mod vm;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask COMMAND

  gates                       formatting, clippy with warnings as errors, and check
  check                       dependency table, licences, duplicates, raw code outside of crates/sys, length of files
  images [busybox|debian|all] [--out DIR] [--again]
                              make image archives from Debian packages (default: all, into images/)
  test [--no-vm] [FILTER...]  install what the tests need, then gates, unit tests, end-to-end tests and a
                              short selection in the virtual machine; the last line counts them all
  docs [--check] [--man DIR]  write docs/cli.md from what the binary says of itself; or compare; or write man pages
  fuzz [--seconds N] [TARGET [INPUT...]]
                              run the fuzz targets, a minute in all; or run inputs once, to see what they show
  soak [--execs N] [--runs N] [--dhow FILE]
                              10,000 execs and 2,000 runs in a row: memory, descriptors, threads, mounts,
                              namespaces, groups, processes, files, links and rules must be as before
  vm [--short|--full] [--power-cuts N] [--binary FILE]... [FILTER...]
                              boot a Debian kernel with pure cgroup v2 in qemu and run tests there
  bench [ARGUMENTS]           measure dhow and the engines beside it, and write docs/benchmarks.md
";

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let command = if words.is_empty() { String::new() } else { words.remove(0) };
    match dispatch(&command, &words) {
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
        Err(e) => {
            eprintln!("xtask {command}: {e:#}");
            std::process::exit(2);
        }
    }
}

/// Runs a command; `false` when it ran and found something wrong.
fn dispatch(command: &str, words: &[String]) -> Result<bool> {
    match command {
        "gates" => suite::gates(),
        "check" => check::command(),
        "images" => images::command(words).map(|()| true),
        "test" => suite::command(words),
        "docs" => docs::command(words),
        "fuzz" => fuzz::command(words),
        "soak" => soak::command(words),
        "vm" => vm::command(words),
        "bench" => bench::command(words).map(|()| true),
        "" | "help" | "-h" | "--help" => {
            print!("{USAGE}");
            Ok(true)
        }
        other => bail!("no such command {other:?}\n\n{USAGE}"),
    }
}
