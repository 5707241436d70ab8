//! Names: leaving the tree, beyond what a kernel takes, not UTF-8.

use super::{Row, no, t, yes};

pub(super) fn rows() -> Vec<Row> {
    let plain = || t().file("x", b"1").end();
    let pax_path = |path: &[u8]| t().pax(&[("path", path)]).file("x", b"").end();
    vec![
        no("dotdot", t().file("../x", b"1").end(), "leads out of the tree", t().file("a/../x", b"1").end()),
        no("dotdot after dot", t().file("./../x", b"1").end(), "leads out of the tree", t().file("././x", b"1").end()),
        no(
            "dotdot deeper",
            t().file("a/../../x", b"1").end(),
            "leads out of the tree",
            t().file("a/b/../../x", b"1").end(),
        ),
        yes("dotdot inside", t().file("a/../x", b"1").end(), &["x = 1"]),
        yes("absolute", t().file("/etc/x", b"1").end(), &["etc/", "etc/x = 1"]),
        yes("absolute dotdot", t().file("/../../x", b"1").end(), &["x = 1"]),
        yes("trailing dot", t().dir("a/.").file("a/./b", b"1").end(), &["a/", "a/b = 1"]),
        yes("slashes", t().dir("a//").file("//a///b", b"1").end(), &["a/", "a/b = 1"]),
        yes("backslash", t().file("a\\..\\b", b"1").end(), &["a\\..\\b = 1"]),
        yes("dots that are names", t().file("...", b"1").dir("..a").end(), &["... = 1", "..a/"]),
        yes("line ends and escapes", t().file("a\n\x1b[31m\t", b"1").end(), &["a\n\x1b[31m\t = 1"]),
        yes("not UTF-8", t().file(b"\xff\xfe\xc3", b"1").end(), &["\\xff\\xfe\\xc3 = 1"]),
        yes(
            "the same letters, composed and not",
            t().file("\u{e9}", b"1").file("e\u{301}", b"2").end(),
            &["e\u{301} = 2", "\u{e9} = 1"],
        ),
        no("NUL in pax path", pax_path(b"a\0b"), "malformed", pax_path(b"ab")),
        yes("NUL in the name field", t().file(b"a\0b", b"1").end(), &["a = 1"]),
        no(
            "NUL in pax link",
            t().pax(&[("linkpath", b"a\0b")]).symlink("l", "x").end(),
            "malformed",
            t().pax(&[("linkpath", b"ab")]).symlink("l", "x").end(),
        ),
        no(
            "long component",
            pax_path("n".repeat(256).as_bytes()),
            "component of 256",
            pax_path("n".repeat(255).as_bytes()),
        ),
        no(
            "beyond PATH_MAX",
            pax_path("p/".repeat(2100).as_bytes()),
            "more than 4095",
            pax_path(vec!["p".repeat(255); 16].join("/").as_bytes()),
        ),
        no("empty name", t().file("", b"1").end(), "root of a layer must be a directory", t().dir("").end()),
        no("root as link", t().symlink("./", "/etc").end(), "root of a layer must be a directory", t().dir("./").end()),
        no(
            "dotdot in long name",
            t().long(b'L', b"../x").file("y", b"").end(),
            "leads out of the tree",
            t().long(b'L', b"z/../x").file("y", b"").end(),
        ),
        no("dotdot in pax path", t().pax(&[("path", b"../x")]).file("y", b"").end(), "leads out of the tree", plain()),
        yes("a name like a whiteout's directory", t().file(".wh", b"1").end(), &[".wh = 1"]),
    ]
}
