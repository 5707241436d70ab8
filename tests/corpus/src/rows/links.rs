//! Symbolic and hard links: written through, pointing out, flipping to directories and back.

use super::{Row, no, t, yes};
use crate::Head;

/// Links a0 → a1 → … → d, and a file written through the first.
fn chain(links: usize) -> Vec<u8> {
    let mut tar = t().dir("d");
    for i in 0..links {
        let to = if i + 1 == links { "d".to_owned() } else { format!("a{}", i + 1) };
        tar = tar.symlink(format!("a{i}"), to);
    }
    tar.file("a0/x", b"1").end()
}

pub(super) fn rows() -> Vec<Row> {
    [through_symbolic_links(), hard_links()].into_iter().flatten().collect()
}

fn through_symbolic_links() -> Vec<Row> {
    let inside = || t().dir("etc").symlink("l", "/etc").file("l/x", b"1").end();
    vec![
        no("through absolute link", t().symlink("l", "/etc").file("l/x", b"1").end(), "dangling", inside()),
        yes(
            "through link out",
            t().symlink("l", "../../..").file("l/canary", b"1").end(),
            &["canary = 1", "l -> ../../.."],
        ),
        yes("through link to inside", inside(), &["etc/", "etc/x = 1", "l -> /etc"]),
        yes(
            "through a chain",
            t().dir("d").symlink("a", "b").symlink("b", "/d").file("a/x", b"1").end(),
            &["a -> b", "b -> /d", "d/", "d/x = 1"],
        ),
        no("through more links than the kernel follows", chain(50), "not a directory", chain(30)),
        no(
            "through a loop",
            t().symlink("a", "b").symlink("b", "a").file("a/x", b"1").end(),
            "not a directory",
            t().dir("c").symlink("a", "b").symlink("b", "c").file("a/x", b"1").end(),
        ),
        no("through /proc", t().symlink("l", "/proc/self/root").file("l/x", b"1").end(), "dangling", inside()),
        yes(
            "through /proc that the archive brings",
            t().dir("proc/self")
                .symlink("proc/self/root", "/../..")
                .file("proc/self/root/proc/self/root/canary", b"1")
                .end(),
            &["canary = 1", "proc/", "proc/self/", "proc/self/root -> /../.."],
        ),
        yes("file over link", t().symlink("l", "/etc/passwd").file("l", b"1").end(), &["l = 1"]),
        yes("dir over link", t().dir("d").symlink("l", "d").dir("l").file("l/x", b"1").end(), &["d/", "l/", "l/x = 1"]),
        yes("link over dir", t().dir("d").file("d/x", b"1").symlink("d", "e").end(), &["d -> e"]),
        yes(
            "link flips to dir and back",
            t().dir("t")
                .symlink("l", "t")
                .file("l/a", b"1")
                .dir("l")
                .file("l/a", b"2")
                .symlink("l", "t")
                .file("l/a", b"3")
                .end(),
            &["l -> t", "t/", "t/a = 3"],
        ),
        yes(
            "a directory on the way becomes a link out",
            t().file("d/e/f", b"1").symlink("d/e", "../../..").file("d/e/canary", b"2").end(),
            &["canary = 2", "d/", "d/e -> ../../.."],
        ),
        no(
            "file in the way",
            t().file("a", b"1").file("a/b", b"2").end(),
            "not a directory",
            t().dir("a").file("a/b", b"2").end(),
        ),
        yes("file to dir mid-stream", t().file("a", b"1").dir("a").file("a/b", b"2").end(), &["a/", "a/b = 2"]),
        no("link without target", t().symlink("l", "").end(), "proper target", t().symlink("l", ".").end()),
        no(
            "link target beyond PATH_MAX",
            t().pax(&[("linkpath", "l/".repeat(2500).as_bytes())]).symlink("l", "x").end(),
            "too long",
            t().pax(&[("linkpath", "l/".repeat(2000).as_bytes())]).symlink("l", "x").end(),
        ),
    ]
}

fn hard_links() -> Vec<Row> {
    let twice = || t().file("f", b"1").hardlink("h", "f").end();
    let before = "no such file before it";
    vec![
        no("hard link out", t().hardlink("h", "../../canary").end(), "leads out of the tree", twice()),
        no(
            "hard link absolute out",
            t().hardlink("h", "/etc/passwd").end(),
            before,
            t().file("etc/passwd", b"1").hardlink("h", "/etc/passwd").end(),
        ),
        no(
            "hard link out by pax",
            t().file("f", b"1").pax(&[("linkpath", b"../../canary")]).hardlink("h", "f").end(),
            "leads out of the tree",
            t().file("f", b"1").pax(&[("linkpath", b"./f")]).hardlink("h", "x").end(),
        ),
        no(
            "hard link through link out",
            t().symlink("l", "/../..").hardlink("h", "l/canary").end(),
            before,
            t().file("canary", b"1").symlink("l", "/../..").hardlink("h", "l/canary").end(),
        ),
        no("hard link forward", t().hardlink("h", "f").file("f", b"1").end(), before, twice()),
        no("hard link to a lower layer's file", t().hardlink("h", "bin/sh").end(), before, twice()),
        yes(
            "hard link to link",
            t().symlink("l", "/etc/passwd").hardlink("h", "l").end(),
            &["h -> /etc/passwd", "l -> /etc/passwd"],
        ),
        yes(
            "hard link to a link, then written",
            t().symlink("l", "/canary").hardlink("h", "l").file("h", b"1").end(),
            &["h = 1", "l -> /canary"],
        ),
        no("hard link to dir", t().dir("d").hardlink("h", "d").end(), "is a directory", twice()),
        no("hard link to root", t().hardlink("h", ".").end(), "it is the root", twice()),
        yes("hard link to itself", t().file("f", b"1").hardlink("f", "f").end(), &["f = 1"]),
        no(
            "hard link to whiteout",
            t().file(".wh.f", b"").hardlink("h", "f").end(),
            "was deleted",
            t().file(".wh.f", b"").file("f", b"1").hardlink("h", "f").end(),
        ),
        yes(
            "hard link to device",
            t().node(b'3', "n", (1, 3)).hardlink("h", "n").end(),
            &["h node 20644 103", "n node 20644 103"],
        ),
        yes(
            "hard link to device, then written",
            t().node(b'3', "n", (1, 3)).hardlink("h", "n").file("h", b"1").end(),
            &["h = 1", "n node 20644 103"],
        ),
        yes(
            "hard link written over",
            t().file("f", b"1").hardlink("h", "f").file("h", b"2").end(),
            &["f = 1", "h = 2"],
        ),
        yes("original written over", t().file("f", b"1").hardlink("h", "f").file("f", b"2").end(), &["f = 2", "h = 1"]),
        yes(
            "hard link over the dir of its target",
            t().dir("d").file("d/f", b"1").hardlink("d", "d/f").end(),
            &["d = 1"],
        ),
        yes(
            "hard link with a size",
            t().file("f", b"1").head(Head { size: 512, link: b"f".to_vec(), ..Head::new(b'1', "h") }).end(),
            &["f = 1", "h = 1"],
        ),
    ]
}
