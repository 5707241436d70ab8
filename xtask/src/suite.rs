//! `cargo xtask test` and `cargo xtask gates`: everything that has to hold, and one line at the end that counts it.

use crate::tally::Tally;
use crate::{docs, fuzz, images, packages, run, vm};
use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// Debian packages that building and testing need.
const PACKAGES: &[&str] = &[
    "binutils",
    "busybox-static",
    // with zsh: shells whose completion is tested
    "fish",
    "gcc",
    "iproute2",
    "libc6-dev",
    "mmdebstrap",
    // /etc/protocols, by which nft writes `tcp` where it would write `6`
    "netbase",
    "nftables",
    // an authority for addresses that are no loopback
    "openssl",
    // with skopeo: other tools' reading of archives and registries
    "podman",
    "procps",
    "python3",
    "python3-docker",
    "python3-seccomp",
    "qemu-system-x86",
    "skopeo",
    "sqlite3",
    "strace",
    "util-linux",
    "zsh",
    "zstd",
];

/// The gates, in the order of their cost.
const GATES: &[(&str, &[&str])] = &[
    ("rustfmt", &["fmt", "--all", "--", "--check"]),
    ("check", &["xtask", "check"]),
    ("clippy", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
];

/// `cargo xtask gates`.
pub fn gates() -> Result<bool> {
    let mut tally = Tally::default();
    run_gates(&mut tally);
    println!("{}", tally.report());
    Ok(tally.failures() == 0)
}

fn run_gates(tally: &mut Tally) {
    for (name, words) in GATES {
        println!("== {name}");
        let result = run::run(run::cargo().args(*words));
        if let Err(e) = &result {
            eprintln!("{e:#}");
        }
        tally.add(name, result.is_ok());
    }
}

/// `cargo xtask test [--no-vm] [FILTER...]`.
pub fn command(words: &[String]) -> Result<bool> {
    let mut with_vm = true;
    let mut filters = Vec::new();
    for word in words {
        match word.as_str() {
            "--no-vm" => with_vm = false,
            _ if word.starts_with('-') => bail!("unknown option {word}"),
            _ => filters.push(word.clone()),
        }
    }
    let user = run::output(Command::new("id").arg("-u"))?;
    if user.trim() != "0" {
        bail!("the tests make namespaces, control groups and mounts: run them as root");
    }
    packages::ensure(PACKAGES)?;

    let mut tally = Tally::default();
    if filters.is_empty() {
        run_gates(&mut tally);
    }
    unit(&filters, &mut tally)?;
    end_to_end(&filters, &mut tally)?;
    if filters.is_empty() {
        fuzz::suite(&mut tally);
    }
    if with_vm && filters.is_empty() {
        println!("== virtual machine");
        if let Err(e) = vm::selection(vm::Extent::Short, &[], &mut tally) {
            tally.add(&format!("vm: {e:#}"), false);
        }
    } else {
        tally.skip("vm", "not asked for");
    }
    println!("\n{}", tally.report());
    Ok(tally.failures() == 0)
}

/// The tests beside the code: of the whole workspace at once, or crate by crate where a crate does not build.
fn unit(filters: &[String], tally: &mut Tally) -> Result<()> {
    println!("== tests of the crates");
    let builds = run::run(run::cargo().args(["test", "--workspace", "--no-run", "--quiet"])).is_ok();
    let selections: Vec<Vec<String>> = if builds {
        vec![vec!["--workspace".into()]]
    } else {
        crates()?.into_iter().map(|name| vec!["-p".into(), name]).collect()
    };
    for selection in selections {
        let mut test = run::cargo();
        test.args(["test", "--no-fail-fast"]).args(&selection).arg("--").args(filters);
        let place = if builds { String::new() } else { format!("{} ", selection.concat().trim_start_matches("-p")) };
        counted(&mut test, &place, tally)?;
    }
    Ok(())
}

/// Runs a command that prints test results, shows and counts them.
fn counted(command: &mut Command, place: &str, tally: &mut Tally) -> Result<()> {
    let before = tally.failures();
    let status = run::lines(command, |line| {
        println!("{line}");
        tally.line(place, line);
    })?;
    tally.ended(place, status.success(), before);
    Ok(())
}

fn crates() -> Result<Vec<String>> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(run::root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    Ok(metadata.workspace_packages().iter().map(|p| p.name.to_string()).collect())
}

/// The built binary, driven from outside.
fn end_to_end(filters: &[String], tally: &mut Tally) -> Result<()> {
    println!("== end-to-end tests");
    if let Err(e) = run::run(run::cargo().args(["build", "--workspace", "--bins"])) {
        tally.add(&format!("end-to-end tests: {e:#}"), false);
        return Ok(());
    }
    let built = run::built("debug")?;
    if filters.is_empty() {
        let current = docs::is_current(&built.join("dhow"));
        if let Err(e) = &current {
            eprintln!("{e:#}");
        }
        tally.add("docs/cli.md", current.unwrap_or(false));
    }
    let archives = run::root().join("images");
    for name in ["busybox", "debian"] {
        images::make(name, &archives, false)?;
    }
    let mut e2e = Command::new(built.join("dhow-e2e"));
    e2e.arg("--dhow").arg(built.join("dhow")).arg("--images").arg(&archives).args(filters);
    // Programs alone, without the daemons that their packages would start.
    let mut beside = Vec::new();
    for (program, package) in [("docker", "docker.io"), ("docker-registry", "docker-registry")] {
        if packages::program(program).is_none() {
            beside.push(packages::unpacked(package)?.join("usr/bin"));
        }
    }
    e2e.env("PATH", path_with(&beside)?);
    if std::env::var_os("DHOW_TEST_PYTHON").is_none() {
        e2e.env("DHOW_TEST_PYTHON", "/usr/bin/python3");
    }
    counted(&mut e2e, "e2e ", tally)
}

fn path_with(more: &[PathBuf]) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(more.iter().cloned());
    std::env::join_paths(dirs).context("PATH")
}
