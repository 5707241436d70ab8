//! Whiteouts: they hide what lower layers have, never what this one has, and nothing outside.

use super::{Row, no, t, yes};

pub(super) fn rows() -> Vec<Row> {
    let deleted = |n: usize| t().pax(&[("path", format!(".wh.{}", "n".repeat(n)).as_bytes())]).file("x", b"");
    let good = || t().file("d/.wh.x", b"").end();
    vec![
        yes("whiteout", good(), &["d/", "d/x !"]),
        yes("whiteout with data", t().file(".wh.x", b"secret").end(), &["x !"]),
        yes("whiteout as a directory", t().dir(".wh.x").end(), &["x !"]),
        yes("whiteout as a link out", t().symlink(".wh.x", "/canary").end(), &["x !"]),
        yes("whiteout as a device", t().node(b'3', ".wh.x", (1, 3)).end(), &["x !"]),
        yes("whiteout as a hard link to nothing", t().hardlink(".wh.x", "../../canary").end(), &["x !"]),
        // The name in the archive is four bytes longer than any that a file can have.
        yes("whiteout of the longest name", deleted(255).end(), &[&format!("{} !", "n".repeat(255))]),
        no("whiteout of a name of 256", deleted(256).end(), "component of 260", deleted(252).end()),
        no("whiteout of dotdot", t().file("d/.wh...", b"").end(), "names no file", t().file("d/.wh....", b"").end()),
        no("whiteout of dot", t().file(".wh..", b"").end(), "names no file", good()),
        no("whiteout of nothing", t().file(".wh.", b"").end(), "names no file", good()),
        no("whiteout below dotdot", t().file("../.wh.canary", b"").end(), "leads out of the tree", good()),
        yes(
            "whiteout through link out",
            t().symlink("l", "../../..").file("l/.wh.canary", b"").end(),
            &["canary !", "l -> ../../.."],
        ),
        yes(
            "opaque through link out",
            t().symlink("l", "../../..").file("l/.wh..wh..opq", b"").file("x", b"1").end(),
            &["l -> ../../..", "x = 1"],
        ),
        yes("whiteout before file", t().file(".wh.x", b"").file("x", b"1").end(), &["x = 1"]),
        yes("whiteout after file", t().file("x", b"1").file(".wh.x", b"").end(), &["x = 1"]),
        yes("whiteout before link", t().file(".wh.x", b"").symlink("x", "y").end(), &["x -> y"]),
        yes("whiteout after link", t().symlink("x", "/canary").file(".wh.x", b"").end(), &["x -> /canary"]),
        yes("whiteout before dir", t().file(".wh.x", b"").dir("x").end(), &["x/ opaque"]),
        yes("whiteout after dir", t().dir("x").file(".wh.x", b"").end(), &["x/ opaque"]),
        yes("whiteout before what is in it", t().file(".wh.x", b"").file("x/y", b"1").end(), &["x/ opaque", "x/y = 1"]),
        yes("whiteout after what is in it", t().file("x/y", b"1").file(".wh.x", b"").end(), &["x/ opaque", "x/y = 1"]),
        yes("whiteout twice", t().file(".wh.x", b"").file(".wh.x", b"").end(), &["x !"]),
        yes("whiteout of a whiteout", t().file(".wh..wh.x", b"").end(), &[]),
        yes("opaque", t().dir("d").file("d/.wh..wh..opq", b"").file("d/x", b"1").end(), &["d/ opaque", "d/x = 1"]),
        yes("opaque last", t().dir("d").file("d/x", b"1").file("d/.wh..wh..opq", b"").end(), &["d/ opaque", "d/x = 1"]),
        yes("opaque of what nobody announced", t().file("d/.wh..wh..opq", b"").end(), &["d/ opaque"]),
        yes("opaque root", t().file(".wh..wh..opq", b"").file("x", b"1").end(), &["x = 1"]),
        no(
            "opaque file",
            t().file("d", b"1").file("d/.wh..wh..opq", b"").end(),
            "not a directory",
            t().dir("d").file("d/.wh..wh..opq", b"").end(),
        ),
        yes("bookkeeping of AUFS", t().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", b"x").end(), &[]),
    ]
}
