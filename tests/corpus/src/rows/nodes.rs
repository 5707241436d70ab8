//! Devices, attributes and owners.

use super::{Row, no, t, yes};
use crate::{Head, Tar, seal};

fn owner(uid: &[u8; 8]) -> Vec<u8> {
    Tar::new().head(Head { uid: uid.to_vec(), ..Head::new(b'0', "f") }).end()
}

fn group(gid: &[u8; 8]) -> Vec<u8> {
    Tar::new().head(Head { gid: gid.to_vec(), ..Head::new(b'0', "f") }).end()
}

pub(super) fn rows() -> Vec<Row> {
    let pax = |key: &str, value: &[u8]| t().pax(&[(key, value)]).file("f", b"").end();
    let device = || t().node(b'3', "n", (1, 3)).end();
    vec![
        yes(
            "device",
            t().node(b'3', "n", (1, 3)).node(b'4', "b", (7, 0)).node(b'6', "p", (0, 0)).end(),
            &["b node 60644 700", "n node 20644 103", "p node 10644 0"],
        ),
        yes("device 0:0", t().node(b'3', "n", (0, 0)).end(), &["n !"]),
        yes("block device 0:0", t().node(b'4', "n", (0, 0)).end(), &["n node 60644 0"]),
        yes("device 0:0 over a file", t().file("n", b"1").node(b'3', "n", (0, 0)).end(), &["n = 1"]),
        yes("file over a device", t().node(b'3', "n", (1, 3)).file("n", b"1").end(), &["n = 1"]),
        no(
            "device number too big",
            {
                let mut b = Head::new(b'3', "n").block();
                b[329..337].copy_from_slice(&[0xff; 8]);
                seal(&mut b);
                t().raw(&b).end()
            },
            "device number",
            device(),
        ),
        no(
            "socket type",
            t().head(Head::new(b'Z', "x")).end(),
            "unknown type 'Z'",
            t().head(Head::new(b'6', "x")).end(),
        ),
        no(
            "multi-volume",
            t().head(Head::new(b'M', "x")).end(),
            "unknown type 'M'",
            t().head(Head::new(b'7', "x")).end(),
        ),
        yes(
            "overlay attributes",
            t().pax(&[
                ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                ("SCHILY.xattr.user.overlay.opaque", b"y"),
                ("SCHILY.xattr.trusted.overlay.metacopy", b""),
                ("SCHILY.xattr.trusted.overlay.origin", b"x"),
            ])
            .dir("d")
            .end(),
            &["d/"],
        ),
        yes(
            "metacopy with a redirect on a file",
            t().pax(&[
                ("SCHILY.xattr.trusted.overlay.redirect", b"/../../canary"),
                ("SCHILY.xattr.trusted.overlay.metacopy", b"\0\x04\0\0"),
            ])
            .file("f", b"1")
            .end(),
            &["f = 1"],
        ),
        yes("capability without bytes", pax("SCHILY.xattr.security.capability", b""), &["f = "]),
        yes("time before all others", pax("mtime", b"-9223372036854775808"), &["f = "]),
        no("attribute without name", pax("SCHILY.xattr.", b"x"), "malformed", pax("SCHILY.xattr.trusted.x", b"x")),
        no(
            "capability that is none",
            pax("SCHILY.xattr.security.capability", b"xxxx"),
            "security.capability",
            pax("SCHILY.xattr.security.capability", &CAPABILITY),
        ),
        // owners: never 0 by accident
        no("uid -1", owner(b"\xff\xff\xff\xff\xff\xff\xff\xff"), "user id -1", owner(b"0000001\0")),
        no(
            "uid 2^32-1",
            owner(b"\x80\0\0\0\xff\xff\xff\xff"),
            "user id 4294967295",
            owner(b"\x80\0\0\0\xff\xff\xff\xfe"),
        ),
        no("uid 2^32", owner(b"\x80\0\0\x01\0\0\0\0"), "user id 4294967296", owner(b"\x80\0\0\0\0\0\0\x01")),
        no("uid as a word", owner(b"root\0\0\0\0"), "malformed", owner(b"\0\0\0\0\0\0\0\0")),
        no("gid -1", group(b"\xff\xff\xff\xff\xff\xff\xff\xff"), "group id -1", group(b"0000001\0")),
        no("gid as a word", group(b"staff\0\0\0"), "malformed", group(b"    62 \0")),
        no("pax uid negative", pax("uid", b"-5"), "user id -5", pax("uid", b"5")),
        no("pax uid as a word", pax("uid", b"root"), "malformed", pax("uname", b"root")),
        no("pax gid huge", pax("gid", b"99999999999"), "group id 99999999999", pax("gid", b"4294967294")),
        no("pax gid 2^64", pax("gid", b"18446744073709551616"), "malformed", pax("gid", b"0")),
    ]
}

/// cap_net_raw=ep, as setcap writes it.
pub(crate) const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
