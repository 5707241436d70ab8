//! Tables: what was seen at each endpoint, and the judgement that it must come to.

use super::super::facts::{Blob, Choosing, Chosen, Facts, PlaceFacts, Step, Top};
use super::{State, report};
use dhow_distribution::{Cause, Ping, Place, Proven, RateLimit, Reached};
use dhow_types::Digest;
use dhow_types::image::Descriptor;
use std::time::Duration;

const NOW: i64 = 1_700_000_000;

fn step<T, E>(came: Result<T, E>) -> Step<T, E> {
    Step { took: Duration::from_millis(3), came }
}

fn blob(config: bool, of: &[u8]) -> Blob {
    let descriptor = Descriptor {
        media_type: String::new(),
        digest: Digest::of(of),
        size: of.len() as u64,
        platform: None,
        annotations: Default::default(),
        urls: vec![],
    };
    Blob { config, descriptor, reached: step(Ok(Reached { elsewhere: None, resumable: true })) }
}

/// An endpoint where all is well.
fn fine(host: &str) -> PlaceFacts {
    let mut place = Place::default();
    (place.address, place.host, place.port) = (format!("https://{host}/v2"), host.to_owned(), 443);
    (place.https, place.verifies, place.resolves, place.pulls) = (true, true, true, true);
    let mut ping = Ping::default();
    (ping.status, ping.date) = (200, Some(NOW));
    let top = Top { digest: Digest::of(b"top"), media_type: "application/x.index".into(), size: 9, limit: None };
    let mut at = PlaceFacts::new(place);
    at.addresses = Some(step(Ok(vec!["192.0.2.1".parse().unwrap()])));
    at.connection = Some(step(Ok("192.0.2.1:443".parse().unwrap())));
    at.ping = Some(step(Ok(ping)));
    at.manifest = Some(step(Ok(top)));
    at.choice = Some(step(Ok(Chosen { digest: Digest::of(b"one"), platform: None, alone: false })));
    at.blobs = vec![blob(true, b"config"), blob(false, b"layer")];
    at
}

fn mirror(host: &str) -> PlaceFacts {
    let mut at = fine(host);
    at.place.mirror = true;
    at
}

/// The registry without TLS.
fn twin(host: &str) -> PlaceFacts {
    let mut at = fine(host);
    (at.place.plain_twin, at.place.https, at.place.verifies) = (true, false, false);
    at.place.address = format!("http://{host}/v2");
    at
}

/// One whose steps end with the answer to `/v2/`.
fn silent(mut at: PlaceFacts, cause: Cause) -> PlaceFacts {
    at.ping = Some(step(Err(cause)));
    (at.manifest, at.choice, at.blobs) = (None, None, vec![]);
    at
}

fn no_manifest(mut at: PlaceFacts, cause: Cause) -> PlaceFacts {
    at.manifest = Some(step(Err(cause)));
    (at.choice, at.blobs) = (None, vec![]);
    at
}

fn refused(status: u16) -> Cause {
    Cause::Refused { status, code: String::new(), words: format!("said {status}"), retry_after: None }
}

fn facts(places: Vec<PlaceFacts>) -> Facts {
    Facts {
        name: "r/x:1".into(),
        registry: "r".into(),
        platform: "linux/amd64".into(),
        credentials: false,
        now: NOW,
        attempts: 5,
        places: Ok(places),
    }
}

#[test]
fn all_is_well() {
    let r = report(&facts(vec![fine("r")]));
    assert!(r.pullable && r.findings.is_empty(), "{r:?}");
    assert_eq!((r.bytes, r.layers), (11, 1));
    assert_eq!(r.found, Some((Digest::of(b"top"), Digest::of(b"one"))));
    let steps: Vec<_> = r.endpoints[0].steps.iter().map(|s| (s.step, s.state)).collect();
    let want = ["name", "connection", "api", "manifest", "platform", "content"].map(|s| (s, State::Ok));
    assert_eq!(steps, want);
    // With TLS it answered: the other way is not gone, and not told of as a failure.
    let mut spared = PlaceFacts::new(twin("r").place);
    spared.spared = true;
    let r = report(&facts(vec![fine("r"), spared]));
    assert!(r.pullable && r.findings.is_empty() && r.endpoints[1].steps[0].seen.contains("not asked"), "{r:?}");
}

/// The worst finding of each case: state, words of what it is, words of the advice; and whether a pull would work.
#[test]
fn each_failure_has_its_name_and_its_mend() {
    let change = |mut at: PlaceFacts, with: fn(&mut PlaceFacts)| {
        with(&mut at);
        at
    };
    let cut = |mut at: PlaceFacts| {
        (at.ping, at.manifest, at.choice, at.blobs) = (None, None, None, vec![]);
        at
    };
    let certificate = |why: &str| silent(fine("r"), Cause::Certificate(format!("tls: {why}")));
    type Case = (Vec<PlaceFacts>, State, &'static str, &'static str, bool);
    let cases: Vec<Case> = vec![
        (
            vec![cut(change(fine("r"), |f| f.addresses = Some(step(Err("no such host".into())))))],
            State::Error,
            "name is not known: r: no such host",
            "getent hosts r",
            false,
        ),
        (
            vec![cut(change(fine("r"), |f| {
                f.connection = Some(step(Err("192.0.2.1:443: connection refused".into())))
            }))],
            State::Error,
            "nothing connects: 192.0.2.1:443: connection refused",
            "listens on port 443",
            false,
        ),
        (
            vec![cut(change(fine("r"), |f| {
                f.place.proxy = Some("p:3128".into());
                f.connection = Some(step(Err("x".into())));
            }))],
            State::Error,
            "nothing connects",
            "start the proxy p:3128",
            false,
        ),
        (
            vec![silent(fine("r"), Cause::NotTls)],
            State::Error,
            "HTTP response to HTTPS client",
            "insecure-registries",
            false,
        ),
        (
            vec![silent(fine("r"), Cause::NotTls), twin("r")],
            State::Note,
            "without TLS, which is allowed",
            "nothing",
            true,
        ),
        (
            vec![certificate("it is signed by an unknown authority: put it into /c/r/ca.crt")],
            State::Error,
            "unknown authority",
            "if it is your own authority, put it into /c/r/ca.crt",
            false,
        ),
        (vec![certificate("it has expired")], State::Error, "expired", "renewed", false),
        (
            vec![certificate("it is not for the name r")],
            State::Error,
            "not for the name",
            "a name that stands in",
            false,
        ),
        (vec![certificate("it is not valid yet")], State::Error, "not valid yet", "clock", false),
        (
            vec![silent(fine("r"), Cause::Stalled(Duration::from_secs(30)))],
            State::Error,
            "nothing came for 30s",
            "curl -v https://r/v2/",
            false,
        ),
        (
            vec![change(no_manifest(fine("r"), refused(500)), |f| {
                f.proof = Some(step(Err(Cause::NoCredentials)));
                f.manifest = None;
            })],
            State::Error,
            "gives no access",
            "`dhow login r`",
            false,
        ),
        (vec![no_manifest(fine("r"), refused(403))], State::Error, "said 403", "may pull it", false),
        (vec![no_manifest(fine("r"), refused(429))], State::Error, "said 429", "wait, or use a mirror", false),
        (vec![no_manifest(fine("r"), refused(503))], State::Error, "said 503", "tries 5 times", false),
        (
            vec![change(no_manifest(fine("r"), refused(404)), |f| f.tags = Some(vec!["2".into(), "1".into()]))],
            State::Error,
            "said 404",
            "a tag that is there: 2, 1",
            false,
        ),
        (
            vec![change(fine("r"), |f| {
                f.choice = Some(step(Err(Choosing::Nothing("no matching manifest for linux/s390x".into()))));
                f.blobs.clear();
            })],
            State::Error,
            "no matching manifest for linux/s390x",
            "--platform",
            false,
        ),
        (
            vec![change(fine("r"), |f| f.blobs[1].reached = step(Err(refused(404))))],
            State::Error,
            "layer",
            "push it again",
            false,
        ),
        (
            vec![change(fine("r"), |f| {
                let got = Digest::of(b"other");
                f.manifest = Some(step(Err(Cause::WrongDigest { wanted: Digest::of(b""), got })));
                (f.choice, f.blobs) = (None, vec![]);
            })],
            State::Error,
            "verification failed",
            "damaged",
            false,
        ),
        // A mirror in the way of a registry that is well.
        (
            vec![cut(change(mirror("m"), |f| f.connection = Some(step(Err("refused".into()))))), fine("r")],
            State::Warning,
            "nothing connects",
            "start the mirror at m:443",
            true,
        ),
        (vec![no_manifest(mirror("m"), refused(404)), fine("r")], State::Warning, "said 404", "it is asked next", true),
        (
            vec![no_manifest(mirror("m"), refused(401)), fine("r")],
            State::Warning,
            "said 401",
            "without credentials",
            true,
        ),
        // A layer that one of them lacks.
        (
            vec![change(mirror("m"), |f| f.blobs[1].reached = step(Err(refused(404)))), fine("r")],
            State::Warning,
            "content can't be had",
            "push it again",
            true,
        ),
        // A mirror is enough.
        (vec![mirror("m"), silent(fine("r"), Cause::NotTls)], State::Warning, "HTTPS client", "insecure", true),
        (
            vec![
                change(mirror("m"), |f| {
                    f.manifest = Some(step(Ok(Top {
                        digest: Digest::of(b"old"),
                        media_type: String::new(),
                        size: 1,
                        limit: None,
                    })))
                }),
                fine("r"),
            ],
            State::Warning,
            "another image under this tag",
            "by its digest",
            true,
        ),
        // Nothing fails, but.
        (
            vec![change(fine("r"), |f| {
                if let Some(Step { came: Ok(ping), .. }) = &mut f.ping {
                    ping.date = Some(NOW + 600);
                }
            })],
            State::Warning,
            "clock is 600 seconds behind",
            "set the clock",
            true,
        ),
        (
            vec![change(fine("r"), |f| {
                if let Some(Step { came: Ok(top), .. }) = &mut f.manifest {
                    top.limit = Some(RateLimit { limit: 100, remaining: 0, window: Some(Duration::from_secs(21600)) });
                }
            })],
            State::Warning,
            "0 of 100 pulls in 6h0m0s are left",
            "log in",
            true,
        ),
        (
            vec![change(fine("r"), |f| {
                f.proof = Some(step(Ok(Proven { shown: false, withheld: Some("https://evil".into()) })));
            })],
            State::Note,
            "sent to https://evil",
            "daemon.json",
            true,
        ),
        (
            vec![change(fine("r"), |f| {
                f.blobs[1].reached = step(Ok(Reached { elsewhere: None, resumable: false }));
            })],
            State::Note,
            "no parts of a layer",
            "",
            true,
        ),
        (vec![change(fine("r"), |f| f.place.verifies = false)], State::Note, "certificate is not checked", "", true),
        (
            vec![change(fine("r"), |f| {
                f.place.resolves = false;
                (f.manifest, f.choice, f.blobs) = (None, None, vec![]);
            })],
            State::Error,
            "what a tag stands for",
            "resolve",
            false,
        ),
    ];
    for (places, state, what, advice, pullable) in cases {
        let r = report(&facts(places));
        let worst = r.findings.first().unwrap_or_else(|| panic!("nothing was found: {what}"));
        assert_eq!(worst.state, state, "{what}: {r:#?}");
        assert!(worst.what.contains(what), "{what}: {worst:?}");
        assert!(worst.advice.join("\n").contains(advice), "{what}: {worst:?}");
        assert_eq!(r.pullable, pullable, "{what}");
    }
}

#[test]
fn who_gave_a_password_is_told_that_it_is_wrong() {
    let mut f = facts(vec![no_manifest(fine("docker.io"), refused(401))]);
    f.registry = "docker.io".into();
    for (credentials, words) in
        [(true, "name or password is wrong, or may not pull this: `dhow login`"), (false, "log in as somebody")]
    {
        f.credentials = credentials;
        let r = report(&f);
        assert!(r.findings[0].advice[0].contains(words), "{r:?}");
    }
}

#[test]
fn settings_that_can_t_be_used_end_it() {
    let mut f = facts(vec![]);
    f.places = Err(Cause::Settings("hosts.toml: unknown".into()));
    let r = report(&f);
    assert!(!r.pullable && r.endpoints.is_empty() && r.findings[0].what.contains("hosts.toml"), "{r:?}");
}
