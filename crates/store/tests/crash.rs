//! A process that loads is killed in the middle: what the next one finds is whole.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_store::{Store, StoreConfig};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::{Fixture, Tar, config, docker_archive, list};

/// The example `load`, which cargo builds with the tests.
fn loader() -> PathBuf {
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let path = dir.join("examples/load");
    assert!(path.exists(), "{} is missing: build the examples", path.display());
    path
}

#[test]
fn killed_while_loading() {
    let layers: Vec<Vec<u8>> = (0..3u8)
        .map(|l| (0..60u8).fold(Tar::new(), |t, i| t.file(format!("d{l}/f{i}"), &vec![i ^ l; 4000])).end())
        .collect();
    let kept = vec![Tar::new().file("kept", b"1").end()];
    let archive = docker_archive(Some("x"), &config(&layers), &layers);
    for round in 0..24usize {
        let mut f = Fixture::new();
        f.image("kept", &kept).unwrap();
        f.store = None;
        // Kill it after more and more of the archive; in the last rounds it has everything and is publishing.
        let part = (archive.len() * round / 18).min(archive.len());
        let mut child = Command::new(loader())
            .arg(f.root())
            .arg("/dev/stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        to.write_all(&archive[..part]).unwrap();
        if part == archive.len() && round % 2 == 0 {
            drop(to);
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Store::open(&f.root(), StoreConfig::default()).unwrap();
        assert_eq!(store.verify().unwrap(), Vec::<String>::new(), "round {round}");
        assert!(store.resolve("kept").is_ok(), "round {round}");
        let want = match store.resolve("x") {
            Ok(image) => {
                assert!(image.image.layer_dirs.iter().all(|d| d.is_dir()), "round {round}");
                4
            }
            Err(_) => 1,
        };
        for dir in ["layers", "recipes"] {
            assert_eq!(list(&f.root().join(dir)).len(), want, "round {round}: {dir}");
        }
        // It can be loaded now, whatever was left.
        store.load(archive.as_slice(), &mut |_| {}).unwrap();
        assert!(store.verify().unwrap().is_empty());
        drop(store);
        f.assert_clean_files();
    }
}
