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

#[tokio::test]
async fn of_several_client_certificates_the_one_that_the_server_takes() {
    let server = Server::tls(tls("server", true), |r| Image::new().answer(r)).await;
    let file = |name: &str| certs().join(name).display().to_string();
    let pair = |name: &str| format!("['{}', '{}']", file(&format!("{name}.pem")), file(&format!("{name}.key")));
    for (client, works) in [
        (format!("[{}, {}]", pair("stranger"), pair("client")), true),
        (format!("[{}, {}]", pair("client"), pair("stranger")), true),
        (format!("[{}]", pair("stranger")), false),
    ] {
        let toml = format!("ca = '{}'\nclient = {client}", file("ca.pem"));
        let (_dir, s) = hosts_toml(server.address, &toml);
        assert_eq!(repository(server.address, s).await.manifest(&latest()).await.is_ok(), works, "{client}");
    }
}

#[tokio::test]
async fn the_advice_names_the_file_that_is_read() {
    let server = Server::tls(tls("server", false), |r| Image::new().answer(r)).await;
    let (dir, s) = hosts_toml(server.address, "");
    let e = repository(server.address, s.clone()).await.manifest(&latest()).await.unwrap_err();
    let file = dir.path().join(server.address.to_string()).join("hosts.toml");
    assert!(e.to_string().contains(&format!("as ca in {}", file.display())), "{e}");
    // Followed, it helps.
    std::fs::write(&file, format!("ca = '{}'", certs().join("ca.pem").display())).unwrap();
    assert!(repository(server.address, s).await.manifest(&latest()).await.is_ok());
}

#[tokio::test]
async fn after_tls_nothing_goes_in_plain_text() {
    let server = Server::both(tls("server", false), |r| {
        let mut reply = Image::new().answer(r);
        if r.encrypted && r.path.contains("/blobs/") {
            reply.body[0] ^= 1;
        }
        match r.header("authorization") {
            "" => Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
            _ => reply,
        }
    })
    .await;
    let user = dhow_distribution::Credentials::basic("user", "pass");
    let repo = crate::world::with_credentials(server.address, settings(), user).await;
    assert_eq!(repo.endpoints().len(), 2);
    for _ in 0..2 {
        let e = crate::world::layer(&repo, &Image::descriptor(&Image::new().layer)).await.unwrap_err();
        assert!(matches!(e.cause, Cause::WrongDigest { .. } | Cause::Settings(_)), "{e}");
    }
    assert!(!server.seen().is_empty() && server.seen().iter().all(|r| r.encrypted));
    // The twin: where there is no TLS at all, loopback's plain text is good.
    let plain = Server::start(|r| Image::new().answer(r)).await;
    let repo = repository(plain.address, settings()).await;
    assert!(crate::world::layer(&repo, &Image::descriptor(&Image::new().layer)).await.is_ok());
}
