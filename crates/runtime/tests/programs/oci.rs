//! The OCI runtime as a program of its own, without the rest of dhow: what the tests of this crate run.

use std::process::ExitCode;

fn main() -> ExitCode {
    let io = dhow_runtime::oci::Io {
        out: &mut std::io::stdout(),
        err: &mut std::io::stderr(),
        env: std::env::vars_os().collect(),
        version: env!("CARGO_PKG_VERSION"),
    };
    ExitCode::from(dhow_runtime::oci::run(std::env::args_os().collect(), 1, io) as u8)
}
