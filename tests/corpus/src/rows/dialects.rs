//! Where readers of tars differ: duplicates, ends, padding, global headers. This one does what Docker's does.

use super::{Row, no, t, yes};
use crate::Head;

pub(super) fn rows() -> Vec<Row> {
    vec![
        yes("duplicates", t().file("f", b"1").file("f", b"22").file("f", b"333").end(), &["f = 333"]),
        yes("case clash", t().file("f", b"1").file("F", b"2").end(), &["F = 2", "f = 1"]),
        yes(
            "case clash of directories",
            t().file("d/x", b"1").file("D/x", b"2").end(),
            &["D/", "D/x = 2", "d/", "d/x = 1"],
        ),
        yes("dir twice", t().dir("d").file("d/x", b"1").dir("d/").end(), &["d/", "d/x = 1"]),
        yes(
            "tree replaced by file",
            t().dir("d").file("d/x", b"1").file("d/y", b"2").file("d", b"3").end(),
            &["d = 3"],
        ),
        yes(
            "tree replaced and made again",
            t().file("d/x", b"1").file("d", b"2").dir("d").file("d/x", b"3").file("d/x", b"4").end(),
            &["d/", "d/x = 4"],
        ),
        yes(
            "global records have no effect",
            t().head(Head { size: 10, ..Head::new(b'g', "g") }).data(b"10 path=z\n").file("f", b"1").end(),
            &["f = 1"],
        ),
        yes("later records count", t().pax(&[("path", b"a"), ("path", b"b")]).file("f", b"1").end(), &["b = 1"]),
        yes("long name before pax path", t().pax(&[("path", b"a")]).long(b'L', b"b").file("f", b"1").end(), &["b = 1"]),
        yes(
            "directory with a size",
            t().head(Head { size: 512, ..Head::new(b'5', "d") }).file("f", b"1").end(),
            &["d/", "f = 1"],
        ),
        yes("trailing garbage", [t().file("f", b"1").end(), b"garbage".repeat(1000)].concat(), &["f = 1"]),
        yes("entries after the end", [t().file("f", b"1").end(), t().file("g", b"2").end()].concat(), &["f = 1"]),
        yes("no end", t().file("f", b"1").0, &["f = 1"]),
        yes("one zero block at the end", t().file("f", b"1").raw(&[0; 512]).0, &["f = 1"]),
        no(
            "lone zero block",
            t().file("f", b"1").raw(&[0; 512]).file("g", b"2").end(),
            "single block of zeros",
            t().file("f", b"1").raw(&[0; 1024]).file("g", b"2").end(),
        ),
        no("wrong checksum", t().file("f", b"1").raw(&[b'x'; 512]).end(), "wrong checksum", t().file("f", b"1").end()),
        no("half a header", t().file("f", b"1").raw(&[1; 100]).0, "cut short", t().file("f", b"1").0),
        yes(
            "extended header and nothing behind",
            [t().file("f", b"1").0, t().pax(&[("path", b"x")]).0].concat(),
            &["f = 1"],
        ),
        yes("old directory by slash", t().head(Head::new(0, "d/")).file("d/x", b"1").end(), &["d/", "d/x = 1"]),
        yes(
            "padding that is not zero",
            t().head(Head { size: 1, ..Head::new(b'0', "f") }).raw(&[b'q'; 512]).end(),
            &["f = q"],
        ),
    ]
}
