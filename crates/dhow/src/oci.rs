//! `dhow oci`, and the binary called `runc`: hands the words, the streams and the environment to the runtime's
//! command line. What the commands do is in `dhow_runtime::oci`.

use std::ffi::OsString;

/// Runs a command of the OCI runtime; `words` are those after the program's name, or after `dhow oci`.
pub fn main(words: Vec<OsString>) -> i32 {
    let args: Vec<OsString> = std::env::args_os().collect();
    let skip = args.len() - words.len();
    let io = dhow_runtime::oci::Io {
        out: &mut std::io::stdout(),
        err: &mut std::io::stderr(),
        env: std::env::vars_os().collect(),
        version: env!("CARGO_PKG_VERSION"),
    };
    dhow_runtime::oci::run(args, skip, io)
}
