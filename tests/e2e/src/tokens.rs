//! A token server before a registry: who shows the password gets a token for all that is asked, everybody else one for
//! pulling what is below `public/`. Tokens are signed with the key of the certificate `server`.

use crate::net::Netns;
use crate::registry::USER;
use crate::wire::{Act, Reply, Request, Server, certs, provider};
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// As a registry says it.
pub const SERVICE: &str = "the tests' registry";
/// As the tokens say it.
pub const ISSUER: &str = "the tests' authority";
/// What `docker login` may keep instead of the password.
pub const IDENTITY: &str = "identity-of-user";

/// A server that gives tokens at `/token` and passes all else on to the registry behind it: one site, as most are.
pub fn before(net: &Netns, behind: u16) -> Result<Server> {
    Server::before(net, behind, |request| if request.path == "/token" { answer(request) } else { Act::Forward })
}

fn answer(request: &Request) -> Act {
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", USER.0, USER.1)));
    let form = if request.method == "POST" { String::from_utf8_lossy(&request.body) } else { (&*request.query).into() };
    let words: Vec<(String, String)> = form.split('&').filter_map(pair).collect();
    let said = |name: &str| words.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
    let shown = request.field("authorization");
    let known = match request.method.as_str() {
        "POST" => match said("grant_type") {
            "refresh_token" => said("refresh_token") == IDENTITY,
            _ => (said("username"), said("password")) == USER,
        },
        _ => shown == basic,
    };
    let anonymous = request.method == "GET" && shown.is_empty();
    if !known && !anonymous {
        return Reply::error(401, "UNAUTHORIZED", "incorrect username or password").into();
    }
    let scopes = words.iter().filter(|(n, _)| n == "scope").flat_map(|(_, v)| v.split(' '));
    let access: Vec<Value> = scopes.filter_map(|s| granted(s, known)).collect();
    match signed(if known { USER.0 } else { "" }, &access) {
        Err(e) => Reply::error(500, "UNKNOWN", &format!("{e:#}")).into(),
        Ok(token) => {
            let mut told = json!({"token": token, "access_token": token, "expires_in": 300});
            if known && (said("offline_token") == "true" || said("access_type") == "offline") {
                told["refresh_token"] = json!(IDENTITY);
            }
            Reply::new(200, told.to_string()).with("content-type", "application/json").into()
        }
    }
}

/// A word of a form.
fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(b) = rest.next() {
        bytes.push(match b {
            b'+' => b' ',
            b'%' => u8::from_str_radix(std::str::from_utf8(&[rest.next()?, rest.next()?]).ok()?, 16).ok()?,
            b => b,
        });
    }
    Some((name.to_owned(), String::from_utf8(bytes).ok()?))
}

/// What of a scope (`repository:NAME:pull,push`) is granted; nothing where that is nothing.
fn granted(scope: &str, known: bool) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let open = name.starts_with("public/");
    let actions: Vec<&str> = actions.split(',').filter(|a| known || (open && *a == "pull")).collect();
    (!actions.is_empty()).then(|| json!({"type": kind, "name": name, "actions": actions}))
}

/// A JSON web token, ES256, with its certificate.
fn signed(subject: &str, access: &[Value]) -> Result<String> {
    let (pem, key) = certs::SERVER;
    let cert = CertificateDer::from_pem_slice(pem.as_bytes())?;
    let key = provider().key_provider.load_private_key(PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
    let signer = key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).context("no key for ES256")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let head = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&cert)]});
    let claims = json!({
        "iss": ISSUER, "sub": subject, "aud": SERVICE, "jti": "1", "iat": now, "nbf": now - 10, "exp": now + 300,
        "access": access,
    });
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = plain(&signer.sign(text.as_bytes())?).context("no signature")?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Two numbers of 32 bytes out of the DER around them, as tokens want them.
fn plain(der: &[u8]) -> Option<Vec<u8>> {
    let [0x30, _, rest @ ..] = der else { return None };
    let (mut rest, mut out) = (rest, Vec::new());
    for _ in 0..2 {
        let [0x02, length, number @ ..] = rest else { return None };
        let (number, after) = number.split_at_checked(usize::from(*length))?;
        let number: Vec<u8> = number.iter().copied().skip_while(|b| *b == 0).collect();
        out.extend(std::iter::repeat_n(0, 32usize.checked_sub(number.len())?));
        out.extend(number);
        rest = after;
    }
    Some(out)
}
