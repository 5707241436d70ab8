//! What TLS of one host needs: authorities, client certificates, whether to look at all. Rule: Docker's `certs.d`.

use crate::clients::Clients;
use crate::roots::{add, bounded};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files for one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Authorities beside the system's.
    pub ca: Vec<PathBuf>,
    /// Certificate and key; one file for both if they are the same.
    pub client: Vec<(PathBuf, PathBuf)>,
    /// Any certificate will do.
    pub skip_verify: bool,
    /// Where an authority would have to be named.
    pub advice: String,
}

impl Tls {
    /// What a directory `certs.d/HOST` holds; nothing if there is none.
    pub(crate) fn of_dir(dir: &Path) -> Result<Self, String> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(format!("read {}: {e}", dir.display())),
        };
        let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        let mut tls = Self::default();
        for name in &names {
            if name.ends_with(".crt") {
                tls.ca.push(dir.join(name));
            } else if let Some(stem) = name.strip_suffix(".cert") {
                let key = format!("{stem}.key");
                if !names.contains(&key) {
                    return Err(format!(
                        "missing key {key} for client certificate {name}. CA certificates must use the extension .crt"
                    ));
                }
                tls.client.push((dir.join(name), dir.join(key)));
            } else if let Some(stem) = name.strip_suffix(".key") {
                let certificate = format!("{stem}.cert");
                if !names.contains(&certificate) {
                    return Err(format!("missing client certificate {certificate} for key {name}"));
                }
            }
        }
        Ok(tls)
    }

    /// The configuration for connections. `with_client` is false for hosts that this one only points to.
    pub(crate) fn config(
        &self,
        provider: &Arc<CryptoProvider>,
        system: &RootCertStore,
        with_client: bool,
    ) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        let builder = if self.skip_verify {
            let any = Anyone(provider.signature_verification_algorithms);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(any))
        } else {
            let mut roots = system.clone();
            for file in &self.ca {
                let pem = bounded(file).map_err(|e| format!("read {}: {e}", file.display()))?;
                if add(&mut roots, &pem) == 0 {
                    return Err(format!("{} holds no certificate", file.display()));
                }
            }
            builder.with_root_certificates(roots)
        };
        let mut config = if with_client && !self.client.is_empty() {
            builder.with_client_cert_resolver(Arc::new(Clients::read(&self.client, provider)?))
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Takes every certificate; the handshake itself is still checked.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_directory() {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path();
        assert_eq!(Tls::of_dir(&d.join("none")).unwrap(), Tls::default());
        let put = |name: &str| std::fs::write(d.join(name), "").unwrap();
        put("ca.crt");
        put("README");
        put("c.cert");
        assert_eq!(
            Tls::of_dir(d).unwrap_err(),
            "missing key c.key for client certificate c.cert. CA certificates must use the extension .crt"
        );
        put("c.key");
        let tls = Tls::of_dir(d).unwrap();
        assert_eq!((tls.ca, tls.client), (vec![d.join("ca.crt")], vec![(d.join("c.cert"), d.join("c.key"))]));
        put("x.key");
        assert_eq!(Tls::of_dir(d).unwrap_err(), "missing client certificate x.cert for key x.key");
    }
}
