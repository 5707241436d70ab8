//! `cargo xtask check`: the rules of the code base that can be read off it.
//!
//! Who may use whom stands in [`MAY_USE`]; a crate that is not in it is an error, so the table can't fall behind. Where
//! ARCHITECTURE.md shows the table too, the two must agree.

use crate::{licences, run};
use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each crate and the crates of the project it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("sys", &[]),
    ("cgroup", &["sys", "types"]),
    ("runtime", &["sys", "cgroup", "types"]),
    ("store", &["sys", "types"]),
    ("distribution", &["types"]),
    ("net", &["sys", "types"]),
    ("shim", &["sys", "types", "runtime", "cgroup"]),
    ("api", &[]),
    ("engine", &["types", "store", "distribution", "net", "cgroup", "shim", "sys"]),
    ("client", &["api"]),
    ("server", &["engine", "api", "types", "sys"]),
    (
        "dhow",
        &[
            "types",
            "sys",
            "cgroup",
            "runtime",
            "store",
            "distribution",
            "net",
            "shim",
            "api",
            "engine",
            "client",
            "server",
        ],
    ),
];

/// Chores and tests stand outside of the table.
const OUTSIDE: &[&str] = &["xtask", "dhow-e2e", "dhow-corpus", "dhow-fuzz"];

/// What a crate must not have anywhere beneath it.
const NEVER: &[(&[&str], &[&str])] = &[
    (&["sys", "cgroup", "runtime", "shim"], &["tokio", "dhow-engine", "dhow-store", "dhow-net"]),
    (&["engine"], &["dhow-api", "clap"]),
    (&["client"], &["dhow-engine", "dhow-store", "tokio"]),
    (&["types", "api"], &["rustix", "tokio"]),
];

/// What a crate must not name itself, though something that it uses may have it.
const NEVER_ITSELF: &[(&str, &[&str])] = &[("engine", &["hyper", "http", "hyper-util", "rustls"])];

/// Libraries that must be there once at most, or not at all.
const ONCE: &[&str] = &["hyper", "rustls", "rustix", "tokio", "serde"];
const NOT_AT_ALL: &[&str] = &["nix", "openssl-sys", "ring"];

/// A file longer than this is reported.
const LONG: usize = 600;

/// `cargo xtask check`.
pub fn command() -> Result<bool> {
    let faults = faults()?;
    for fault in &faults {
        eprintln!("check: {fault}");
    }
    for (lines, path) in long_files()? {
        println!("{lines} lines: {}", path.display());
    }
    println!("check: {} faults", faults.len());
    Ok(faults.is_empty())
}

/// All that breaks a rule.
fn faults() -> Result<Vec<String>> {
    let manifest = run::root().join("Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        // Optional parts count too: what is linked for a test has a licence as well.
        .other_options(["--locked".into(), "--all-features".into()])
        .exec()
        .context("cargo metadata")?;
    let mut faults = edges(&metadata);
    faults.extend(beneath(&metadata)?);
    faults.extend(licence_faults(&metadata));
    faults.extend(versions(&metadata)?);
    faults.extend(architecture_page()?);
    faults.extend(source_faults()?);
    Ok(faults)
}

/// `dhow-engine` as the table writes it; the binary is `dhow` itself.
fn short(package: &str) -> &str {
    package.strip_prefix("dhow-").unwrap_or(package)
}

fn edges(metadata: &Metadata) -> Vec<String> {
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        let name = short(&package.name);
        if OUTSIDE.contains(&package.name.as_str()) {
            continue;
        }
        let Some((_, may_use)) = MAY_USE.iter().find(|(n, _)| *n == name) else {
            faults.push(format!("crate {name} is not in the table of who may use whom"));
            continue;
        };
        for dependency in &package.dependencies {
            let used = dependency.name.as_str();
            let ours = metadata.workspace_packages().iter().any(|p| p.name.as_str() == used);
            if ours && dependency.kind != DependencyKind::Development && !may_use.contains(&short(used)) {
                faults.push(format!("crate {name} uses {used}, which the table does not allow"));
            }
            if NEVER_ITSELF.iter().any(|(who, what)| *who == name && what.contains(&used)) {
                faults.push(format!("crate {name} must not use {used}: HTTP belongs to adapters and to distribution"));
            }
        }
    }
    faults
}

/// Everything that is linked into a package, itself included.
fn closure<'a>(metadata: &'a Metadata, of: &'a PackageId) -> Result<BTreeSet<&'a PackageId>> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata gave no resolved graph")?;
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|n| (&n.id, n)).collect();
    let mut seen = BTreeSet::new();
    let mut queue = vec![of];
    while let Some(id) = queue.pop() {
        if seen.insert(id) {
            let deps = nodes.get(id).map(|n| n.deps.as_slice()).unwrap_or_default();
            let linked = |kind: &cargo_metadata::DepKindInfo| kind.kind == DependencyKind::Normal;
            queue.extend(deps.iter().filter(|d| d.dep_kinds.iter().any(linked)).map(|d| &d.pkg));
        }
    }
    Ok(seen)
}

fn beneath(metadata: &Metadata) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        let name = short(&package.name);
        let never: Vec<&str> =
            NEVER.iter().filter(|(who, _)| who.contains(&name)).flat_map(|(_, what)| what.iter().copied()).collect();
        for id in closure(metadata, &package.id)? {
            let used = &metadata[id].name;
            if never.contains(&used.as_str()) {
                faults.push(format!("crate {name} must never have {used} beneath it (cargo tree -i {used})"));
            }
        }
    }
    Ok(faults)
}

fn licence_faults(metadata: &Metadata) -> Vec<String> {
    let fault = |p: &Package| match &p.license {
        Some(licence) if licences::allowed(licence) => None,
        other => Some(format!("{} {} has the licence {other:?}, which is not allowed", p.name, p.version)),
    };
    metadata.packages.iter().filter_map(fault).collect()
}

fn versions(metadata: &Metadata) -> Result<Vec<String>> {
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in &metadata.packages {
        found.entry(package.name.as_str()).or_default().push(package.version.to_string());
    }
    let mut faults = Vec::new();
    for name in ONCE {
        if let Some(versions) = found.get(name).filter(|v| v.len() > 1) {
            faults.push(format!("{name} is there in several versions: {}", versions.join(", ")));
        }
    }
    // The metadata also has what only a weak feature (`ring?/alloc`) mentions; whether it is built, cargo's tree knows.
    for name in NOT_AT_ALL.iter().filter(|name| found.contains_key(*name)) {
        let tree = [
            "tree",
            "--quiet",
            "--locked",
            "--workspace",
            "--all-features",
            "--target",
            "all",
            "--edges",
            "all",
            "--invert",
            name,
        ];
        if !run::output(run::cargo().args(tree))?.trim().is_empty() {
            faults.push(format!("{name} must not be used (cargo tree -i {name})"));
        }
    }
    Ok(faults)
}

/// The table of ARCHITECTURE.md, where it has one: rows `| layer | `crate` | what it is | may use |`.
fn architecture_page() -> Result<Vec<String>> {
    let path = run::root().join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if !text.lines().any(|l| crate_of(l) == Some("types")) {
        return Ok(Vec::new());
    }
    let mut faults = Vec::new();
    for (name, may_use) in MAY_USE {
        let row = text.lines().find(|l| crate_of(l) == Some(name));
        let Some(row) = row else {
            faults.push(format!("ARCHITECTURE.md: no row for the crate {name} in the table of crates"));
            continue;
        };
        let cell = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap_or_default();
        if cell.trim() == "all" {
            continue;
        }
        // Words in brackets explain; what is between are names.
        let without_brackets: String =
            cell.split('(').map(|part| part.split_once(')').map_or(part, |(_, after)| after)).collect();
        let listed: BTreeSet<&str> = without_brackets.split([',', ' ', '–', '`']).filter(|w| !w.is_empty()).collect();
        let expected: BTreeSet<&str> = may_use.iter().copied().collect();
        if listed != expected {
            faults.push(format!("ARCHITECTURE.md says {name} may use {listed:?}, the check says {expected:?}"));
        }
    }
    Ok(faults)
}

/// The crate that a row of the table is about.
fn crate_of(line: &str) -> Option<&str> {
    line.strip_prefix('|')?.split('|').nth(1)?.trim().strip_prefix('`')?.strip_suffix('`')
}

/// All Rust files of the repository.
fn sources() -> Result<Vec<PathBuf>> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
        for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), found)?;
            } else if entry.path().extension().is_some_and(|e| e == "rs") {
                found.push(entry.path());
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    for dir in ["crates", "tests", "xtask"] {
        walk(&run::root().join(dir), &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix(run::root()).unwrap_or(path).to_owned()
}

fn long_files() -> Result<Vec<(usize, PathBuf)>> {
    let mut long = Vec::new();
    for path in sources()? {
        let lines = std::fs::read_to_string(&path)?.lines().count();
        if lines > LONG {
            long.push((lines, relative(&path)));
        }
    }
    long.sort();
    long.reverse();
    Ok(long)
}

/// Words that no source file may hold, and where they may stand nevertheless.
fn source_faults() -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in sources()? {
        let text = std::fs::read_to_string(&path)?;
        let path = relative(&path);
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let place = format!("{}:{}", path.display(), number + 1);
            if holds_word(code, "unsafe") && !path.starts_with("crates/sys") && !code.contains("unsafe_code") {
                // A word inside a text is no code.
                if !code.split("unsafe").next().unwrap_or_default().contains('"') {
                    faults.push(format!("{place}: unsafe outside of crates/sys"));
                }
            }
            if code.trim_start().starts_with("#[ignore") {
                faults.push(format!("{place}: an ignored test; make it run, or skip it by name where it can't"));
            }
        }
        let is_library = path.starts_with("crates") && path.components().any(|c| c.as_os_str() == "src");
        if is_library && !text.starts_with("//!") {
            faults.push(format!("{}: no module head (//!) that says what lives here", path.display()));
        }
    }
    Ok(faults)
}

fn holds_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_hold() {
        assert_eq!(faults().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn the_table_has_an_order() {
        for (at, (name, may_use)) in MAY_USE.iter().enumerate() {
            for used in *may_use {
                let stands = MAY_USE.iter().position(|(n, _)| n == used);
                assert!(stands.is_some_and(|s| s < at), "{name} uses {used}, which does not stand above it");
            }
        }
    }

    #[test]
    fn words() {
        assert!(holds_word("let x = unsafe { y };", "unsafe"));
        assert!(!holds_word("unsafe_code", "unsafe"));
    }
}
