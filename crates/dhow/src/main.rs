//! One binary, every role: chosen by the program's name or by its first word.
//!
//! Only here (and in the modules of this crate) is the process environment read, anything printed, or the
//! process ended. What a role does lives in the other crates.

mod cli;
mod daemon;
mod doctor;
mod flags;
mod oci;
mod offline;

use std::ffi::OsString;
use std::path::Path;

fn main() {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    let name = Path::new(&name).file_name().and_then(|n| n.to_str()).unwrap_or("dhow").to_owned();
    let code = role(&name, words);
    #[allow(clippy::exit, reason = "the one place where the process ends with a code")]
    std::process::exit(code);
}

fn role(name: &str, mut words: Vec<OsString>) -> i32 {
    match name {
        "runc" => return oci::main(words),
        "dockerd" => return daemon::main(words),
        _ => {}
    }
    match words.first().and_then(|w| w.to_str()) {
        Some("daemon") => daemon::main(words.split_off(1)),
        Some("oci") => oci::main(words.split_off(1)),
        Some("system") if cli::check::is_offline(&words) => offline::main(words.split_off(2)),
        Some("shim") => shim(words.split_off(1)),
        _ => cli::main(words),
    }
}

/// The zygote and, by its forks, all shims: from a read-only mount of the binary, because containers are made of them.
fn shim(words: Vec<OsString>) -> i32 {
    if let Err(error) = dhow_runtime::reexec_readonly(std::env::args_os(), std::env::vars_os()) {
        cli::output::note(format!("dhow shim: {error}"));
        return 1;
    }
    dhow_shim::zygote_main(words)
}
