//! An authority and a certificate made for one test, for an address that is nobody's loopback.

use crate::runner::skip;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

/// An authority, and what it issued.
pub struct Issued {
    /// The authority's certificate.
    pub ca: String,
    /// A certificate, and its key.
    pub pair: (String, String),
}

/// Makes both in a directory. The case is skipped where there is no openssl.
pub fn issue(dir: &Path, address: &str) -> Result<Issued> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("config"), "[req]\ndistinguished_name=name\n[name]\n")?;
    let make = |name: &str, more: &[&str]| -> Result<()> {
        let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-config",
            "config",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ]);
        command.args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}"), "-keyout", &key, "-out", &pem]);
        let out = match command.args(more).current_dir(dir).stdin(Stdio::null()).output() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return skip("openssl is not installed"),
            out => out.context("openssl")?,
        };
        ensure!(out.status.success(), "openssl: {}", String::from_utf8_lossy(&out.stderr));
        Ok(())
    };
    make("authority", &["-addext", "basicConstraints=critical,CA:TRUE"])?;
    let name = format!("subjectAltName=IP:{address}");
    let issuer = ["-CA", "authority.pem", "-CAkey", "authority.key"];
    make("server", &[&issuer[..], &["-addext", "basicConstraints=CA:FALSE", "-addext", &name]].concat())?;
    let read = |name: &str| crate::daemon::read(dir.join(name));
    Ok(Issued { ca: read("authority.pem")?, pair: (read("server.pem")?, read("server.key")?) })
}
