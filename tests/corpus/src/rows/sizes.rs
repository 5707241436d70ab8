//! Bombs and lies about sizes. What limits an archive as a whole is tested with small limits, not by rows.

use super::{Row, no, t, yes};
use crate::{Head, Tar, record, seal};

/// An old GNU sparse file: a map in the header, the data behind.
fn sparse(map: &[(u64, u64)], real: u64, data: &[u8]) -> Vec<u8> {
    let mut b = Head { size: data.len() as u64, gnu: true, ..Head::new(b'S', "s") }.block();
    for (i, (offset, len)) in map.iter().enumerate() {
        b[386 + 24 * i..][..12].copy_from_slice(format!("{offset:011o}\0").as_bytes());
        b[398 + 24 * i..][..12].copy_from_slice(format!("{len:011o}\0").as_bytes());
    }
    if real < 1 << 33 {
        b[483..495].copy_from_slice(format!("{real:011o}\0").as_bytes());
    } else {
        b[483] = 0x80;
        b[487..495].copy_from_slice(&real.to_be_bytes());
    }
    seal(&mut b);
    Tar::new().raw(&b).data(data).end()
}

/// A sparse file in pax format 1.0, with this name, map and data.
fn sparse_1(name: &[u8], real: &[u8], map: &[u8], data: &[u8]) -> Vec<u8> {
    let map = [map, &vec![0; map.len().next_multiple_of(512) - map.len()]].concat();
    t().pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", name),
        ("GNU.sparse.realsize", real),
    ])
    .head(Head { size: (map.len() + data.len()) as u64, ..Head::new(b'0', "x") })
    .data(&[map.as_slice(), data].concat())
    .end()
}

fn header(body: &[u8]) -> Tar {
    t().head(Head { size: body.len() as u64, ..Head::new(b'x', "x") }).data(body)
}

fn nested(depth: usize) -> Vec<u8> {
    Tar::new().pax(&[("path", "d/".repeat(depth).as_bytes())]).dir("x").end()
}

fn nested_through_a_link(below: usize) -> Vec<u8> {
    let mut tar = t().pax(&[("path", "d/".repeat(250).as_bytes())]).dir("x");
    tar = tar.pax(&[("linkpath", "d/".repeat(250).as_bytes())]).symlink("l", "x");
    tar.file(format!("l/{}f", "e/".repeat(below)), b"").end()
}

fn xattrs(count: usize) -> Vec<u8> {
    let body: Vec<u8> = (0..count).flat_map(|i| record(&format!("SCHILY.xattr.user.overlay.{i}"), b"")).collect();
    header(&body).file("f", b"").end()
}

/// Extended headers in a row for one entry, each with this many bytes of records that mean nothing.
fn flood(headers: usize, bytes: usize) -> Vec<u8> {
    let body: Vec<u8> = (0..).flat_map(|i| record(&format!("flood.{i}"), b"x")).take(bytes).collect();
    let whole = body.len() - body.iter().rev().position(|&b| b == b'\n').unwrap();
    (0..headers).fold(t(), |t, _| t.raw(&header(&body[..whole]).0)).file("f", b"1").end()
}

/// The same with one record each, which would add up in memory.
fn pile(headers: usize, value: usize) -> Vec<u8> {
    let one = |i: usize| header(&record(&format!("SCHILY.xattr.user.overlay.{i}"), &vec![b'v'; value])).0;
    (0..headers).fold(t(), |t, i| t.raw(&one(i))).file("f", b"1").end()
}

pub(super) fn rows() -> Vec<Row> {
    let one = || t().file("f", b"1").end();
    vec![
        no(
            "size beyond the end",
            t().head(Head { size: 4096, ..Head::new(b'0', "f") }).data(b"x").0,
            "cut short",
            t().head(Head { size: 512, ..Head::new(b'0', "f") }).data(b"x").0,
        ),
        no("size 8 EiB", t().head(Head { size: 1 << 62, ..Head::new(b'0', "f") }).end(), "more than", one()),
        no(
            "size less than the data",
            t().head(Head { size: 3, ..Head::new(b'0', "f") }).data(&[b'x'; 600]).end(),
            "wrong checksum",
            t().head(Head { size: 600, ..Head::new(b'0', "f") }).data(&[b'x'; 600]).end(),
        ),
        no(
            "negative size",
            {
                let mut b = Head::new(b'0', "f").block();
                b[124..136].fill(0xff);
                seal(&mut b);
                t().raw(&b).end()
            },
            "negative size",
            one(),
        ),
        no(
            "pax size lie",
            t().pax(&[("size", b"99999999999999999999")]).file("f", b"").end(),
            "malformed",
            t().pax(&[("size", b"1")]).file("f", b"1").end(),
        ),
        no(
            "pax size beyond the end",
            t().pax(&[("size", b"5000")]).file("f", b"1").0,
            "cut short",
            t().pax(&[("size", b"0000000000000000001")]).file("f", b"1").end(),
        ),
        no(
            "huge extended header",
            t().head(Head { size: 1 << 40, ..Head::new(b'x', "x") }).end(),
            "extended header of 1099511627776 bytes",
            flood(1, 1000),
        ),
        no(
            "huge long name",
            t().head(Head { size: 1 << 30, gnu: true, ..Head::new(b'L', "x") }).end(),
            "extended header of",
            t().long(b'L', b"x").file("y", b"").end(),
        ),
        no("10^5 attributes", xattrs(100_000 / 50), "more than 1024 extended attributes", xattrs(1024)),
        no("pax key flood", flood(40, 30_000), "extended headers of one entry", flood(1, 1_000_000)),
        no("attributes in many headers", pile(300, 5_000), "extended headers of one entry", pile(100, 5_000)),
        no(
            "empty headers without end",
            (0..3000).fold(t(), |t, _| t.raw(&header(b"").0)).file("f", b"").end(),
            "extended headers of one entry",
            (0..100).fold(t(), |t, _| t.raw(&header(b"").0)).file("f", b"").end(),
        ),
        no(
            "malformed records",
            header(b"99 a=b").file("f", b"").end(),
            "malformed",
            header(b"6 a=b\n").file("f", b"").end(),
        ),
        no("deep directories", nested(1000), "more than 256 deep", nested(256)),
        no(
            "directories as deep as allowed, through links",
            nested_through_a_link(7),
            "more than 256 deep",
            nested_through_a_link(6),
        ),
        yes("sparse", sparse(&[(0, 3), (1 << 20, 2)], (1 << 20) + 4, b"abcde"), &["s = [1048580]"]),
        no("sparse 8 EiB", sparse(&[(0, 1)], 1 << 62, b"a"), "more than", sparse(&[(0, 1)], 1 << 32, b"a")),
        no(
            "sparse overlapping",
            sparse(&[(0, 3), (1, 2)], 10, b"abcde"),
            "overlap",
            sparse(&[(0, 3), (3, 2)], 10, b"abcde"),
        ),
        no("sparse too short", sparse(&[(0, 3)], 10, b"abcde"), "does not fit", sparse(&[(0, 5)], 10, b"abcde")),
        yes(
            "sparse 0.1",
            t().pax(&[("GNU.sparse.size", b"6"), ("GNU.sparse.name", b"real"), ("GNU.sparse.map", b"1,2,4,1")])
                .file("x", b"abc")
                .end(),
            &["real = \0ab\0c\0"],
        ),
        no(
            "sparse 0.1 that wraps around",
            t().pax(&[("GNU.sparse.size", b"6"), ("GNU.sparse.map", b"18446744073709551615,2,4,1")])
                .file("x", b"abc")
                .end(),
            "malformed sparse map",
            t().pax(&[("GNU.sparse.size", b"6"), ("GNU.sparse.map", b"0,2,4,1")]).file("x", b"abc").end(),
        ),
        yes("sparse 1.0", sparse_1(b"real", b"6", b"2\n1\n2\n4\n1\n", b"abc"), &["real = \0ab\0c\0"]),
        no(
            "sparse 1.0 name out",
            sparse_1(b"../x", b"0", b"0\n", b""),
            "leads out of the tree",
            sparse_1(b"x", b"0", b"0\n", b""),
        ),
        no(
            "sparse 1.0 map without end",
            sparse_1(b"real", b"6", &[b"60000\n".to_vec(), b"1\n".repeat(253)].concat(), b""),
            "does not fit",
            sparse_1(b"real", b"6", b"1\n0\n1\n", b"a"),
        ),
        no(
            "sparse 1.0 map of many pieces",
            sparse_1(b"real", b"6", b"70000\n", b""),
            "more than 65536 pieces",
            sparse_1(b"real", b"6", b"1\n5\n1\n", b"a"),
        ),
        yes(
            "times at both ends",
            t().pax(&[("mtime", b"9223372036854775807.999999999")])
                .file("a", b"")
                .pax(&[("mtime", b"-9223372036854775807.5")])
                .file("b", b"")
                .end(),
            &["a = ", "b = "],
        ),
        no(
            "time beyond 64 bits",
            t().pax(&[("mtime", b"9223372036854775808")]).file("f", b"").end(),
            "malformed",
            t().pax(&[("mtime", b"1.")]).file("f", b"").end(),
        ),
    ]
}
