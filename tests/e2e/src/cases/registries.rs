//! Debian's docker-registry, plain, with TLS, passwords and tokens.

use crate::registry::{Kind, Registry, USER};
use crate::runner::World;
use crate::wire::{self, Act, Reply, Server, Then};
use anyhow::{Result, ensure};
use base64::Engine as _;

super::cases!("registries": the_registries_themselves, the_servers_themselves);

/// A way of the tests' own to each kind, so that a failure elsewhere is not the harness's.
fn the_registries_themselves(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", USER.0, USER.1)));
    for kind in [Kind::PLAIN, Kind::TLS, Kind::BASIC, Kind::TOKEN] {
        let r = Registry::start(&d, kind)?;
        let asked = r.ask("POST /v2/some/thing/blobs/uploads/", &[], b"")?;
        let challenge = asked.head.field("www-authenticate").to_owned();
        let shown = match kind.auth {
            crate::registry::Auth::Open => {
                ensure!(asked.status() == 202, "{kind:?}: {:?}", asked.head);
                continue;
            }
            crate::registry::Auth::Basic => {
                ensure!(asked.status() == 401 && challenge.starts_with("Basic realm="), "{:?}", asked.head);
                basic.clone()
            }
            crate::registry::Auth::Token => {
                ensure!(asked.status() == 401 && challenge.contains("/token\""), "{:?}", asked.head);
                let port = r.tokens()?.server().port();
                let scope = "/token?service=s&scope=repository%3Asome%2Fthing%3Apull%2Cpush";
                let told = wire::ask(&d.net, port, &format!("GET {scope}"), &[("authorization", &basic)], b"")?;
                let told: serde_json::Value = serde_json::from_slice(&told.body)?;
                // Nobody's token opens nothing.
                let none = wire::ask(&d.net, port, &format!("GET {scope}"), &[], b"")?;
                let none: serde_json::Value = serde_json::from_slice(&none.body)?;
                let none = format!("Bearer {}", none["token"].as_str().unwrap_or_default());
                let refused = r.ask("POST /v2/some/thing/blobs/uploads/", &[("authorization", &none)], b"")?;
                ensure!(refused.status() == 401, "{:?}", refused.head);
                format!("Bearer {}", told["token"].as_str().unwrap_or_default())
            }
        };
        let asked = r.ask("POST /v2/some/thing/blobs/uploads/", &[("authorization", &shown)], b"")?;
        ensure!(asked.status() == 202, "{kind:?}: {:?}\n{}", asked.head, r.log());
        // The same registry again.
        r.down()?;
        r.up()?;
    }
    Ok(())
}

/// The server that misbehaves, and the proxy: each of its tricks, and that without one all passes.
fn the_servers_themselves(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let digest = dhow_types::Digest::of(&bytes).to_string();
    let blob = format!("/v2/x/blobs/{digest}");
    let p = Server::before(&d.net, r.port(), |r| match r.query.as_str() {
        "cut" => Act::CutAnswer(1000),
        "request" => Act::CutRequest(2_000_000),
        "close" => Act::Close,
        _ => Act::Forward,
    })?;
    let ask = |line: &str, body: &[u8]| wire::ask(&d.net, p.port(), line, &[], body);
    let at = ask("POST /v2/x/blobs/uploads/", b"")?.head.field("location").to_owned();
    let at = at.strip_prefix(&format!("{}/", p.url())).map(|at| format!("/{at}"));
    let at = at.ok_or_else(|| anyhow::anyhow!("the registry names another address than the proxy's"))?;
    let put = ask(&format!("PUT {at}&digest={digest}"), &bytes)?;
    ensure!(put.status() == 201 && r.blob(&digest).exists(), "{:?}", put.head);
    ensure!(ask(&format!("GET {blob}"), b"")?.body == bytes, "a blob went there and back");
    ensure!(ask(&format!("GET {blob}?cut"), b"")?.body == bytes[..1000]);
    ensure!(ask(&format!("GET {blob}?close"), b"").is_err());
    p.breaks(&[1_000_000], true);
    let cut = ask(&format!("GET {blob}"), b"")?.body.len();
    ensure!((990_000..1_000_000).contains(&cut) && p.is_deaf() && ask("GET /v2/", b"").is_err(), "{cut}");
    p.heal();
    ensure!(ask("GET /v2/", b"")?.status() == 200);
    let gets: Vec<_> = p.entries().into_iter().filter(|e| e.request.line() == format!("GET {blob}")).collect();
    ensure!(gets.iter().map(|e| e.whole).eq([true, false, false, false]) && gets[1].sent == 1000, "{gets:?}");

    let s = Server::tls(&d.net, wire::certs::SERVER, |r| {
        Reply::new(200, "0123456789").then(if r.query == "cut" { Then::Cut(3) } else { Then::Whole }).into()
    })?;
    ensure!(wire::ask_tls(&d.net, s.port(), "GET /", &[], b"")?.body == b"0123456789");
    ensure!(wire::ask_tls(&d.net, s.port(), "GET /?cut", &[], b"").map_or(true, |told| told.body == b"012"));
    Ok(())
}
