//! The project's own tools: `cargo xtask test | check | images`.
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The dependency table of ARCHITECTURE.md: a crate, and the dhow crates it may use.
const TABLE: &[(&str, &[&str])] = &[
    ("dhow-types", &[]),
    ("dhow-sys", &[]),
    ("dhow-cgroup", &["dhow-sys", "dhow-types"]),
    ("dhow-runtime", &["dhow-sys", "dhow-cgroup", "dhow-types"]),
    ("dhow-store", &["dhow-sys", "dhow-types"]),
    ("dhow-net", &["dhow-sys", "dhow-types"]),
    ("dhow-shim", &["dhow-sys", "dhow-types", "dhow-cgroup", "dhow-runtime"]),
    ("dhow-api", &[]),
    ("dhow-engine", &["dhow-types", "dhow-store", "dhow-net", "dhow-cgroup", "dhow-shim"]),
    ("dhow-client", &["dhow-api"]),
    ("dhow-server", &["dhow-engine", "dhow-api", "dhow-types"]),
];
const LICENCES: &[&str] = &["MIT", "Apache-2.0", "BSD-", "Zlib", "Unicode-3.0", "ISC", "Unlicense", "0BSD", "BSL-1.0"];

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("test") => test(),
        Some("check") => check(),
        Some("images") => images(),
        _ => bail!("usage: cargo xtask test | check | images"),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| ".".into(), Path::to_owned)
}

fn run(words: &[&str]) -> Result<()> {
    println!("+ {}", words.join(" "));
    let status = Command::new(words[0]).args(&words[1..]).current_dir(root()).status().context(words[0].to_owned())?;
    ensure!(status.success(), "{} failed: {status}", words.join(" "));
    Ok(())
}

/// Dependency table and licences, from `cargo metadata`.
fn check() -> Result<()> {
    let data = cargo_metadata::MetadataCommand::new().current_dir(root()).exec()?;
    for package in &data.packages {
        if let Some((name, allowed)) = TABLE.iter().find(|(name, _)| *name == package.name.as_str()) {
            for d in package.dependencies.iter().filter(|d| d.kind == cargo_metadata::DependencyKind::Normal) {
                ensure!(
                    !d.name.starts_with("dhow-") || allowed.contains(&d.name.as_str()),
                    "{name} must not depend on {}: see the table in ARCHITECTURE.md",
                    d.name
                );
            }
        }
        let licence = package.license.clone().unwrap_or_default();
        ensure!(
            LICENCES.iter().any(|l| licence.contains(l)),
            "{}: licence {licence:?} is not on the list",
            package.name
        );
    }
    println!("dependency table and licences: ok");
    Ok(())
}

/// `images/busybox.tar` from the package busybox-static, as a docker archive.
fn images() -> Result<()> {
    let out = root().join("images");
    std::fs::create_dir_all(&out)?;
    if !Path::new("/bin/busybox").exists() {
        run(&["apt-get", "install", "-y", "-q", "--no-install-recommends", "busybox-static"])?;
    }
    run(&["python3", "xtask/images.py", &out.display().to_string()])
}

fn test() -> Result<()> {
    let need = ["busybox-static", "nftables", "iproute2", "gcc", "libc6-dev", "python3", "procps", "util-linux"];
    // Where packages can't be fetched, what is there must do: the tests say what they miss.
    let _ = run(&["apt-get", "update", "-q"]);
    let _ = run(&[&["apt-get", "install", "-y", "-q", "--no-install-recommends"][..], &need].concat());
    let mut failed = 0u64;
    let mut passed = 0u64;
    let mut step = |result: Result<()>| match result {
        Ok(()) => passed += 1,
        Err(e) => {
            println!("FAILED: {e:#}");
            failed += 1;
        }
    };
    step(run(&["cargo", "fmt", "--all", "--check"]));
    step(check());
    step(run(&["cargo", "clippy", "--workspace", "--all-targets", "-q", "--", "-D", "warnings"]));
    step(images());
    for words in [
        &["cargo", "test", "--workspace", "--no-fail-fast"][..],
        &["cargo", "build", "-q", "-p", "dhow", "-p", "dhow-e2e"],
    ] {
        let (p, f, ok) = counted(words)?;
        passed += p;
        failed += f + u64::from(!ok && f == 0);
    }
    let host = Command::new("rustc").args(["--print", "host-tuple"]).output()?;
    let dir = root().join("target").join(String::from_utf8(host.stdout)?.trim()).join("debug");
    let (e2e, dhow) = (dir.join("dhow-e2e").display().to_string(), dir.join("dhow").display().to_string());
    let (p, f, ok) = counted(&[&e2e, "--dhow", &dhow, "--images", "images"])?;
    passed += p;
    failed += f + u64::from(!ok && f == 0);
    println!("\n{passed} passed, {failed} failed");
    ensure!(failed == 0, "{failed} failed");
    Ok(())
}

/// Runs a test command, shows its output, and adds up its `test result:` lines.
fn counted(words: &[&str]) -> Result<(u64, u64, bool)> {
    println!("+ {}", words.join(" "));
    let out = Command::new(words[0]).args(&words[1..]).current_dir(root()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    print!("{text}");
    Ok((sum(&text, " passed"), sum(&text, " failed"), out.status.success()))
}

fn sum(text: &str, word: &str) -> u64 {
    let lines = text.lines().filter(|l| l.starts_with("test result:"));
    lines.filter_map(|l| l.split(word).next()?.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
