//! Certificates: a private authority, wrong names and dates, client certificates, plain text where TLS was meant.

use crate::server::{Reply, Server};
use crate::world::{Image, certs, hosts_toml, repository, settings, tls};
use dhow_distribution::{Cause, Settings, Wanted};

fn latest() -> Wanted {
    Wanted::Tag("latest".into())
}

#[tokio::test]
async fn a_private_authority_and_certificates_that_do_not_match() {
    let ca = format!("ca = '{}'", certs().join("ca.pem").display());
    for (certificate, toml, words) in [
        ("server", ca.as_str(), None),
        ("server", "", Some("unknown authority")),
        ("elsewhere", ca.as_str(), Some("not for the name 127.0.0.1")),
        ("expired", ca.as_str(), Some("has expired")),
        ("elsewhere", "skip_verify = true", None),
    ] {
        let server = Server::tls(tls(certificate, false), |r| Image::new().answer(r)).await;
        let (_dir, s) = hosts_toml(server.address, toml);
        match (repository(server.address, s).await.manifest(&latest()).await, words) {
            (Ok(_), None) => {}
            (Err(e), Some(words)) => {
                assert!(
                    matches!(e.cause, Cause::Certificate(_)) && e.to_string().contains(words),
                    "{certificate}: {e}"
                );
                assert!(e.to_string().contains("tls: failed to verify certificate"), "{e}");
                assert_eq!(server.seen().len(), 0);
            }
            (got, _) => panic!("{certificate} {toml:?}: {got:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_its_host_only() {
    let storage = Server::tls(tls("server", true), |r| Image::new().answer(r)).await;
    let to = storage.url();
    let server = Server::tls(tls("server", true), move |r| match r.path.contains("manifests") {
        true => Image::new().answer(r),
        false => Reply::to(307, format!("{to}{}", r.path)),
    })
    .await;
    let c = certs();
    let file = |name: &str| c.join(name).display().to_string();
    let with = format!("ca = '{}'\nclient = [['{}', '{}']]", file("ca.pem"), file("client.pem"), file("client.key"));
    let (_dir, s) = hosts_toml(server.address, &with);
    let repo = repository(server.address, s).await;
    assert!(repo.manifest(&latest()).await.is_ok());
    // The other server wants one as well, and does not get it.
    assert!(crate::world::layer(&repo, &Image::descriptor(&Image::new().layer)).await.is_err());
    assert_eq!(storage.seen().len(), 0);
    let (_dir, s) = hosts_toml(server.address, &format!("ca = '{}'", file("ca.pem")));
    assert!(repository(server.address, s).await.manifest(&latest()).await.is_err());
}

#[tokio::test]
async fn loopback_may_speak_plainly_and_others_may_not() {
    let server = Server::start(|r| Image::new().answer(r)).await;
    assert!(repository(server.address, settings()).await.manifest(&latest()).await.is_ok());
    // Over TLS with any certificate, too; then nothing is tried in plain text.
    let encrypted = Server::tls(tls("expired", false), |_| Reply::new(404, "")).await;
    let repo = repository(encrypted.address, settings()).await;
    assert_eq!(repo.endpoints().len(), 2);
    let e = repo.manifest(&latest()).await.unwrap_err();
    assert!(e.others.is_empty() && matches!(e.cause, Cause::Refused { status: 404, .. }), "{e}");
    // Where TLS is demanded, plain text is told as Docker tells it.
    let (_dir, s) = hosts_toml(server.address, "");
    let e = repository(server.address, s).await.manifest(&latest()).await.unwrap_err();
    assert!(
        e.cause == Cause::NotTls && e.to_string().contains("http: server gave HTTP response to HTTPS client"),
        "{e}"
    );
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named() {
    let (_dir, s) = hosts_toml("127.0.0.1:1", "ca = 'missing.pem'");
    let name = "127.0.0.1:1/test/image".parse().unwrap();
    let r = crate::world::registries(s);
    let Err(e) = r.repository(&name, dhow_distribution::Credentials::none(), dhow_distribution::Actions::Pull).await
    else {
        panic!("a missing file was taken");
    };
    assert!(matches!(e.cause, Cause::Settings(_)) && e.to_string().contains("missing.pem"), "{e}");
    assert!(Settings { insecure: vec!["a://b".into()], ..settings() }.insecure.len() == 1);
}
