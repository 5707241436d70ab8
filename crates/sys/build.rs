//! Builds the guest programs of `guest/`: Rust without a standard library, linked statically, a few KB each, so
//! that `dhow` can carry them inside and put them into any container of this architecture.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=guest");
    let out = PathBuf::from(variable("OUT_DIR"));
    for name in ["init", "hello"] {
        build(name, &out);
    }
}

fn build(name: &str, out: &Path) {
    let target = variable("TARGET");
    // A cross build names its linker; natively any C compiler finds the linker and needs no libraries here.
    let linker = env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".into());
    let mut command = Command::new(variable("RUSTC"));
    command
        .arg(Path::new("guest").join(format!("{name}.rs")))
        .args(["--edition", "2024", "--crate-type", "bin", "--crate-name", name, "--target", &target])
        .arg("-o")
        .arg(out.join(name))
        .args(["-C", "opt-level=s", "-C", "lto=fat", "-C", "panic=abort", "-C", "strip=symbols", "-C", "debuginfo=0"])
        .args(["-C", "relocation-model=static", "-C", "target-feature=+crt-static"])
        .arg("-C")
        .arg(format!("linker={linker}"));
    // No C start files; one segment less, no notes and no stack guard tables: a page per container counts.
    for arg in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,noseparate-code"] {
        command.arg("-C").arg(format!("link-arg={arg}"));
    }
    let done = command.status().unwrap_or_else(|e| panic!("start rustc for guest/{name}.rs: {e}"));
    assert!(done.success(), "guest/{name}.rs does not build with linker {linker}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
