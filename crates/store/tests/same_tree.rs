//! The same archive gives the same tree everywhere: random lawful archives as the store unpacks them and as GNU tar does.

#![allow(clippy::unwrap_used)]

use dhow_corpus::{Tar, describe, outline, random};
use dhow_store::{Limits, steps};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// How many archives are compared.
const ARCHIVES: u64 = 200;

/// Unpacks as root with everything; GNU tar's own words about what it does not like go to nobody.
fn gnu_tar(archive: &[u8], into: &Path) {
    std::fs::create_dir(into).unwrap();
    // Directories get their times at the end, as in Docker: entries of an image's layer come in any order.
    // `-P` makes links that lead out at once; without it tar puts empty files there until the end, and takes what replaced
    // one of them for its own.
    let flags = [
        "--delay-directory-restore",
        "-P",
        "--xattrs",
        "--xattrs-include=*",
        "--same-owner",
        "-p",
        "--numeric-owner",
        "-xf",
        "-",
    ];
    let mut child =
        Command::new("tar").args(flags).current_dir(into).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(archive).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "tar: {}", String::from_utf8_lossy(&out.stderr));
}

/// What tar unpacked as files named `.wh.x` becomes what overlayfs understands, times of directories unchanged.
fn with_whiteouts(dir: &Path) {
    use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, utimensat};
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(dir).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match name.strip_prefix(".wh.") {
            Some(".wh..opq") => {
                std::fs::remove_file(&path).unwrap();
                rustix::fs::lsetxattr(dir, "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
            }
            Some(hidden) => {
                std::fs::remove_file(&path).unwrap();
                let at = dir.join(hidden);
                if !at.exists() && !at.is_symlink() {
                    mknodat(CWD, &at, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
                }
            }
            None if path.is_dir() && !path.is_symlink() => with_whiteouts(&path),
            None => {}
        }
    }
    let time = Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() };
    utimensat(CWD, dir, &Timestamps { last_access: time, last_modification: time }, rustix::fs::AtFlags::empty())
        .unwrap();
}

/// The tree, its root as well; of a whiteout only that it is one.
fn seen(tree: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(tree).unwrap();
    let root = format!("/ {:o} {}:{} t{}.{}", meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
    // Where a whiteout was replaced, the mark for whiteouts stays; that it does no harm is tested end to end.
    let unmarked = |line: String| line.replace(" trusted.overlay.origin=\"\"", "");
    let whiteout = |line: String| match line.split_once(" 20000 ") {
        Some((name, rest)) if rest.contains(" dev 0") => format!("{name} whiteout"),
        _ => line,
    };
    std::iter::once(root).chain(describe(tree).into_iter().map(unmarked).map(whiteout)).collect()
}

fn ours(archive: &[u8], into: &Path) -> std::path::PathBuf {
    std::fs::create_dir(into).unwrap();
    steps::unpack(archive, into, &Limits::default()).unwrap_or_else(|e| panic!("refused: {e}"))
}

#[test]
fn random_archives_as_gnu_tar_reads_them() {
    let first: u64 = std::env::var("DHOW_SEED").ok().map_or(1, |s| s.parse().unwrap());
    let mut entries = 0;
    for seed in first..first + ARCHIVES {
        let archive = random::layer(seed, seed % 2 == 0);
        let dir = tempfile::tempdir().unwrap();
        let (mine, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        let tree = ours(&archive, &mine);
        gnu_tar(&archive, &theirs);
        with_whiteouts(&theirs);
        let (mine_seen, theirs_seen) = (seen(&tree), seen(&theirs));
        let pair = mine_seen.iter().zip(&theirs_seen).find(|(a, b)| a != b);
        assert!(pair.is_none(), "DHOW_SEED={seed}: {pair:#?}");
        assert_eq!(mine_seen.len(), theirs_seen.len(), "DHOW_SEED={seed}");
        assert!(steps::rebuild(&mine, archive.len()).unwrap() == archive, "DHOW_SEED={seed}");
        entries += mine_seen.len();
    }
    assert!(entries as u64 > ARCHIVES * 8, "the archives are nearly empty: {entries} files");
}

/// Of a directory that comes again the last entry counts, and attributes stay, as in Docker.
#[test]
fn a_directory_that_comes_again() {
    use dhow_corpus::Head;
    use std::os::unix::fs::MetadataExt as _;
    let dir = |mode, mtime| Head { mode, mtime, ..Head::new(b'5', "d") };
    let first = Tar::new().pax(&[("SCHILY.xattr.user.a", b"x")]).head(dir(0o700, 5)).file("d/f", b"1");
    let archive = first.head(dir(0o2755, 7)).file("d/g", b"2").end();
    let work = tempfile::tempdir().unwrap();
    let tree = ours(&archive, &work.path().join("ours"));
    let meta = std::fs::metadata(tree.join("d")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o2755, 7));
    assert!(describe(&tree)[0].ends_with("user.a=\"x\""), "{:?}", describe(&tree));
}

/// Where the store means to differ from GNU tar, since Docker does or since a layer is no backup.
#[test]
fn differences_by_design() {
    struct By {
        what: &'static str,
        archive: Vec<u8>,
        ours: &'static [&'static str],
        /// None where tar fails or leaves things behind that are not its own.
        theirs: Option<&'static [&'static str]>,
    }
    let t = Tar::new;
    let rows = [
        By {
            what: "a file in place of a directory that is not empty: the last entry counts, as in Docker",
            archive: t().dir("d").file("d/f", b"1").file("d", b"2").end(),
            ours: &["d = 2"],
            theirs: None,
        },
        By {
            what: "a directory in place of a file",
            archive: t().file("d", b"1").dir("d").file("d/f", b"2").end(),
            ours: &["d/", "d/f = 2"],
            theirs: None,
        },
        By {
            what: "whiteouts are no files",
            archive: t().dir("d").file("d/.wh.x", b"").file("d/.wh..wh..opq", b"").end(),
            ours: &["d/ opaque", "d/x !"],
            theirs: Some(&["d/", "d/.wh..wh..opq = ", "d/.wh.x = "]),
        },
        By {
            what: "what AUFS kept for itself is left out",
            archive: t().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", b"x").end(),
            ours: &[],
            theirs: Some(&[".wh..wh.plnk/", ".wh..wh.plnk/1.2 = x"]),
        },
        By {
            what: "overlayfs' own attributes are not the archive's to set",
            archive: t().pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")]).dir("d").end(),
            ours: &["d/"],
            theirs: Some(&["d/ opaque"]),
        },
        By {
            what: "a device 0:0 is a whiteout, whatever its mode",
            archive: t().node(b'3', "x", (0, 0)).end(),
            ours: &["x !"],
            theirs: Some(&["x !"]),
        },
        By {
            what: "a name behind a link inside of the tree is written where the link leads",
            archive: t().dir("d").symlink("l", "d").file("l/f", b"1").end(),
            ours: &["d/", "d/f = 1", "l -> d"],
            theirs: Some(&["d/", "d/f = 1", "l -> d"]),
        },
    ];
    for row in rows {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(outline(&ours(&row.archive, &dir.path().join("ours"))), row.ours, "{}", row.what);
        if let Some(want) = row.theirs {
            let theirs = dir.path().join("theirs");
            gnu_tar(&row.archive, &theirs);
            assert_eq!(outline(&theirs), want, "tar: {}", row.what);
        }
    }
}
