//! The same image gives the same tree as Podman's: random images of several layers, loaded by both.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use dhow_corpus::{LEADS_NOWHERE, random};
use dhow_sys::clone;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Fixture, config, describe, docker_archive};

/// How many images are compared.
const IMAGES: u64 = 12;

/// Podman with a storage of its own.
struct Podman(tempfile::TempDir);

impl Podman {
    fn run(&self, words: &[&str]) -> String {
        let (root, run) = (self.0.path().join("root"), self.0.path().join("run"));
        let mut command = Command::new("podman");
        command.arg("--root").arg(root).arg("--runroot").arg(run).args(["--storage-driver", "overlay"]).args(words);
        let out = command.output().expect("podman, which `cargo xtask test` installs");
        assert!(out.status.success(), "podman {words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
    }
}

/// What a container of the image would see: its layers by overlayfs.
fn ours(f: &Fixture, name: &str) -> Vec<String> {
    let dirs: Vec<PathBuf> = f.store().layer_dirs(&f.store().resolve(name).unwrap().id).unwrap();
    // Two at least, as there is no upper directory.
    let empty = tempfile::tempdir().unwrap();
    let lower: Vec<&str> =
        dirs.iter().map(|d| d.as_path()).chain([empty.path()]).map(|d| d.to_str().unwrap()).collect();
    let at = tempfile::tempdir().unwrap();
    let data = std::ffi::CString::new(format!("lowerdir={}", lower.join(":"))).unwrap();
    mount("overlay", at.path(), "overlay", MountFlags::RDONLY, &*data).unwrap();
    let seen = seen(at.path());
    unmount(at.path(), UnmountFlags::empty()).unwrap();
    seen
}

/// A tree as Podman can have it: times before 1970 are 1970, and attributes without a value are none, which is what Go's
/// reader of archives makes of them.
fn seen(root: &Path) -> Vec<String> {
    let line = |line: String| {
        let line = line.replace(" trusted.mine=\"\"", "");
        match line.split_once(" t-") {
            Some((before, rest)) => {
                format!("{before} t0.0 {}", rest.split_once(' ').map_or("", |r| r.1)).trim_end().to_owned()
            }
            None => line.trim_end().to_owned(),
        }
    };
    describe(root).into_iter().map(line).collect()
}

#[test]
fn random_images_as_podman_unpacks_them() {
    // Overlays are mounted where nobody else sees them.
    let compare = || {
        clone::unshare(clone::NEWNS).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let (f, podman) = (Fixture::new(), Podman(tempfile::tempdir().unwrap()));
        let mut paths = 0;
        for seed in 0..IMAGES {
            let layers: Vec<Vec<u8>> = (0..3).map(|i| random::distinct(seed * 3 + i, i > 0)).collect();
            let name = format!("localhost/random:{seed}");
            let archive = docker_archive(Some(&name), &config(&layers), &layers);
            let file = podman.0.path().join("image.tar");
            std::fs::write(&file, &archive).unwrap();
            f.load(archive).unwrap();
            podman.run(&["load", "-q", "-i", file.to_str().unwrap()]);
            let mounted = podman.run(&["image", "mount", &name]);
            assert!(Path::new(&mounted).is_dir(), "{mounted:?}");
            let mut theirs = seen(Path::new(&mounted));
            // Whiteouts where there is nothing to hide show through overlayfs; dhow's layers are marked against it.
            theirs.retain(|l| !l.ends_with(LEADS_NOWHERE));
            let ours = ours(&f, &name);
            let pair = ours.iter().zip(&theirs).find(|(a, b)| a != b);
            assert!(ours == theirs, "seed {seed}: {} and {} paths: {pair:#?}", ours.len(), theirs.len());
            podman.run(&["image", "umount", &name]);
            paths += ours.len();
        }
        assert!(paths as u64 > IMAGES * 8, "the images are nearly empty: {paths} paths");
    };
    std::thread::scope(|scope| scope.spawn(compare).join().unwrap());
}
