//! Debian packages: installed where missing, or fetched and unpacked beside the system.

use crate::run;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether dpkg knows the package as installed.
fn installed(package: &str) -> bool {
    let status = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .map(|out| out.stdout);
    status.is_ok_and(|s| s == b"installed")
}

fn apt(words: &[&str]) -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["-qq", "-o", "Dpkg::Use-Pty=0"]).args(words).env("DEBIAN_FRONTEND", "noninteractive");
    apt.stdout(Stdio::null()).stdin(Stdio::null());
    apt
}

/// Installs those of `packages` that are missing.
pub fn ensure(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|p| !installed(p)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
    let install = || run::run(apt(&["install", "-y", "--no-install-recommends"]).args(&missing));
    // An old list of packages is the usual reason for a failure, and refreshing it takes long: so only then.
    install().or_else(|_| {
        run::run(&mut apt(&["update"]))?;
        install()
    })
}

/// Fetches a package and unpacks it into a folder of its own, which is returned; once per version.
pub fn unpacked(package: &str) -> Result<PathBuf> {
    let policy = run::output(Command::new("apt-cache").args(["policy", package]))?;
    let candidate = policy.lines().find_map(|l| l.trim().strip_prefix("Candidate: "));
    let version = match candidate {
        Some(version) if version != "(none)" => version.to_owned(),
        _ => {
            run::run(&mut apt(&["update"]))?;
            "latest".to_owned()
        }
    };
    let dir = run::scratch("packages")?.join(format!("{package}_{}", version.replace([':', '/'], "_")));
    if dir.join(".complete").exists() {
        return Ok(dir);
    }
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    let download = || run::run(apt(&["-o", "APT::Sandbox::User=root", "download", package]).current_dir(&dir));
    download().or_else(|_| {
        run::run(&mut apt(&["update"]))?;
        download()
    })?;
    let deb = std::fs::read_dir(&dir)?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .find(|p| p.extension().is_some_and(|e| e == "deb"))
        .with_context(|| format!("apt-get download {package} left no file"))?;
    run::run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&dir))?;
    std::fs::remove_file(&deb)?;
    std::fs::write(dir.join(".complete"), "")?;
    Ok(dir)
}

/// The package that a meta package stands for: its first dependency that begins with `prefix`.
pub fn real_name(meta: &str, prefix: &str) -> Result<String> {
    let depends = run::output(Command::new("apt-cache").args(["depends", meta]))?;
    match depends.lines().filter_map(|l| l.trim().strip_prefix("Depends: ")).find(|p| p.starts_with(prefix)) {
        Some(package) => Ok(package.to_owned()),
        None => bail!("apt-cache depends {meta} names no package {prefix}…; is the list of packages up to date?"),
    }
}

/// The path of a program, if there is one.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| Path::is_file(p))
}
