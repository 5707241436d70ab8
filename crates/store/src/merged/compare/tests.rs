//! Small trees made of words, compared; and random ones against what a walk through both of them shows.

use super::*;
use rustix::fs::{CWD, Mode, XattrFlags};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A layer: `file=content`, `dir/`, `-gone`, `dir!` for an opaque directory.
fn layer(at: &Path, words: &str) -> PathBuf {
    std::fs::create_dir(at).unwrap();
    let old = rustix::fs::Timespec { tv_sec: 1000, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
    let way = |path: &str| std::fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
    for word in words.split_whitespace() {
        if let Some(gone) = word.strip_prefix('-') {
            way(gone);
            rustix::fs::mknodat(CWD, at.join(gone), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        } else if let Some(dir) = word.strip_suffix('!') {
            std::fs::create_dir_all(at.join(dir)).unwrap();
            rustix::fs::setxattr(at.join(dir), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        } else if let Some(dir) = word.strip_suffix('/') {
            std::fs::create_dir_all(at.join(dir)).unwrap();
        } else if let Some((file, content)) = word.split_once('=') {
            way(file);
            std::fs::write(at.join(file), content).unwrap();
            rustix::fs::utimensat(CWD, at.join(file), &times, rustix::fs::AtFlags::empty()).unwrap();
        } else {
            panic!("{word}");
        }
    }
    at.to_owned()
}

/// Layers, lowest first, as a view and the directories they are in.
fn view(dir: &Path, name: &str, layers: &[&str], shared: &[PathBuf]) -> (View, Vec<PathBuf>) {
    let mut dirs: Vec<PathBuf> = shared.to_vec();
    for (i, words) in layers.iter().enumerate() {
        dirs.push(layer(&dir.join(format!("{name}{i}")), words));
    }
    let top_first: Vec<_> = dirs.iter().rev().collect();
    (View::open(&top_first).unwrap(), dirs)
}

fn told(c: &Comparison<'_>) -> Vec<Change> {
    let mut out = Vec::new();
    c.run(&mut |change| {
        out.push(change);
        Ok(())
    })
    .unwrap();
    out
}

/// `K path old>new who` for each change; layers are counted from the lowest.
fn shown(c: &Comparison<'_>) -> Vec<String> {
    told(c)
        .into_iter()
        .map(|change| {
            let kind = match change.kind {
                Kind::Modified => 'C',
                Kind::Added => 'A',
                Kind::Removed => 'D',
            };
            let by = match change.by {
                None => "-".to_owned(),
                Some((Side::Old, layer)) => format!("old{}", c.old.roots.len() - layer),
                Some((Side::New, layer)) => format!("new{}", c.new.roots.len() - layer),
            };
            let path = String::from_utf8(change.path).unwrap();
            format!("{kind} {path} {}>{} {by}", change.old_size, change.new_size)
        })
        .collect()
}

const BASE: &str = "etc/passwd=root etc/group=g usr/bin/a=aaaa usr/bin/b=bb var/log/x=1 var/log/y=22 opt/";

#[test]
fn a_container_against_its_image() {
    let dir = tempfile::tempdir().unwrap();
    let upper = "etc/passwd=root2 etc/new=n -usr/bin/b var/log! var/log/z=333 opt=file tmp/deep/er/ -nothing";
    let (_, base) = view(dir.path(), "base", &[BASE], &[]);
    let (old, _) = view(dir.path(), "old", &[], &base);
    let (new, _) = view(dir.path(), "new", &[upper], &base);
    let mut c = Comparison { old: &old, new: &new, shared: 1, rule: Rule::Stat, removals: Removals::Topmost };
    let want = [
        "C etc 0>0 -",
        "A etc/new 0>1 new2",
        "C etc/passwd 4>5 new2",
        "C opt 0>4 new2",
        "A tmp 0>0 new2",
        "A tmp/deep 0>0 new2",
        "A tmp/deep/er 0>0 new2",
        "C usr 0>0 -",
        "C usr/bin 0>0 -",
        "D usr/bin/b 2>0 new2",
        "C var 0>0 -",
        "C var/log 0>0 -",
        "D var/log/x 1>0 new2",
        "D var/log/y 2>0 new2",
        "A var/log/z 0>3 new2",
    ];
    assert_eq!(shown(&c), want);
    c.removals = Removals::All;
    assert_eq!(shown(&c), want, "no directory is gone");
}

#[test]
fn directories_that_are_gone_are_named_measured_or_listed() {
    let dir = tempfile::tempdir().unwrap();
    let (_, base) = view(dir.path(), "base", &["d/e/f=123 d/g=45 h=6 s/t=7"], &[]);
    let (old, _) = view(dir.path(), "old", &[], &base);
    let (new, _) = view(dir.path(), "new", &["-d s=file"], &base);
    let mut c = Comparison { old: &old, new: &new, shared: 1, rule: Rule::Stat, removals: Removals::Topmost };
    assert_eq!(shown(&c), ["D d 0>0 new2", "C s 0>4 new2"]);
    c.removals = Removals::Measured;
    assert_eq!(shown(&c), ["D d 5>0 new2", "C s 1>4 new2"]);
    c.removals = Removals::All;
    let all = ["D d 0>0 new2", "D d/e 0>0 new2", "D d/e/f 3>0 new2", "D d/g 2>0 new2"];
    assert_eq!(shown(&c), [&all[..], &["C s 0>4 new2", "D s/t 1>0 new2"]].concat());
}

#[test]
fn two_images_on_one_base() {
    let dir = tempfile::tempdir().unwrap();
    let (_, base) = view(dir.path(), "base", &[BASE], &[]);
    let (old, _) = view(dir.path(), "old", &["app/v=1 app/same=s -usr/bin/a", "etc/group=gg"], &base);
    let (new, _) = view(dir.path(), "new", &["app/v=2 app/same=s", "app/w=3 -usr/bin/b -app/none"], &base);
    let c = Comparison { old: &old, new: &new, shared: 1, rule: Rule::Content, removals: Removals::All };
    let want = [
        "C app 0>0 -",
        "C app/v 1>1 new2",
        "A app/w 0>1 new3",
        "C etc 0>0 -",
        "C etc/group 2>1 old3",
        "C usr 0>0 -",
        "C usr/bin 0>0 -",
        "A usr/bin/a 0>4 old2",
        "D usr/bin/b 2>0 new3",
    ];
    assert_eq!(shown(&c), want);
    // Same size and time: Docker's rule sees nothing, which is why contents are compared.
    let c = Comparison { rule: Rule::Stat, ..c };
    assert!(!shown(&c).iter().any(|s| s.starts_with("C app/v")));
    let c = Comparison { old: &new, new: &new, shared: 3, rule: Rule::Content, removals: Removals::All };
    assert_eq!(shown(&c), Vec::<String>::new());
}

#[test]
fn attributes_modes_and_links_count() {
    let dir = tempfile::tempdir().unwrap();
    let (_, base) = view(dir.path(), "base", &["a=x b=x c=x d/ e=x"], &[]);
    let (old, _) = view(dir.path(), "old", &[], &base);
    let (new, dirs) = view(dir.path(), "new", &["a=x b=x c=x d/ e=x"], &base);
    let top = dirs.last().unwrap();
    rustix::fs::setxattr(top.join("a"), "user.k", b"v", XattrFlags::empty()).unwrap();
    rustix::fs::chmod(top.join("b"), Mode::from_raw_mode(0o4755)).unwrap();
    std::os::unix::fs::chown(top.join("d"), Some(5), None).unwrap();
    std::fs::remove_file(top.join("e")).unwrap();
    std::os::unix::fs::symlink("a", top.join("e")).unwrap();
    let c = Comparison { old: &old, new: &new, shared: 1, rule: Rule::Content, removals: Removals::All };
    assert_eq!(shown(&c), ["C a 1>1 new2", "C b 1>1 new2", "C d 0>0 new2", "C e 1>0 new2"]);
    let c = Comparison { rule: Rule::Stat, ..c };
    assert_eq!(shown(&c), ["C b 1>1 new2", "C d 0>0 new2", "C e 1>0 new2"]);
}

/// All paths of a view with what they are.
fn listed(view: &View) -> BTreeMap<Vec<u8>, String> {
    let mut walk = crate::merged::Walk::new(view);
    let mut out = BTreeMap::new();
    while let Some(met) = walk.next().unwrap() {
        let path = join(met.dir.place().path(), met.name.as_bytes());
        let Some(node) = met.node else { continue };
        let what = match &node {
            Node::Dir(_) => "dir".to_owned(),
            Node::Leaf(leaf) => {
                let fd = met.dir.open_leaf(&met.name, leaf).unwrap().unwrap();
                let mut text = String::new();
                std::io::Read::read_to_string(
                    &mut crate::merged::reopen(std::os::fd::AsFd::as_fd(&fd)).unwrap(),
                    &mut text,
                )
                .unwrap();
                text
            }
        };
        out.insert(path, what);
    }
    out
}

mod random {
    use super::*;
    use proptest::prelude::*;

    fn words() -> impl Strategy<Value = String> {
        let path = || prop::collection::vec("[abc]", 1..4).prop_map(|p| p.join("/"));
        let word = prop_oneof![
            4 => (path(), "[xyz]{1,3}").prop_map(|(p, c)| format!("{p}={c}")),
            2 => path().prop_map(|p| format!("{p}/")),
            2 => path().prop_map(|p| format!("-{p}")),
            1 => path().prop_map(|p| format!("{p}!")),
        ];
        // Without words that are in each other's way.
        prop::collection::vec(word, 0..12).prop_map(|words| {
            let bare = |w: &str| w.split('=').next().unwrap().trim_matches(['-', '!', '/']).to_owned();
            let mut kept: Vec<String> = Vec::new();
            for word in words {
                let is_dir = |w: &str| w.ends_with(['/', '!']);
                let clash = |other: &String| {
                    let (a, b) = (bare(other), bare(&word));
                    a == b
                        || (b.starts_with(&format!("{a}/")) && !is_dir(other))
                        || (a.starts_with(&format!("{b}/")) && !is_dir(&word))
                };
                if !kept.iter().any(clash) {
                    kept.push(word);
                }
            }
            kept.join(" ")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

        /// What is told, done to the old tree, gives the new one; and nothing is told that is not so.
        #[test]
        fn differences_are_right(
            base in prop::collection::vec(words(), 0..3),
            old in prop::collection::vec(words(), 0..3),
            new in prop::collection::vec(words(), 0..3),
        ) {
            let dir = tempfile::tempdir().unwrap();
            // A view needs a layer.
            let base: Vec<&str> = std::iter::once("").chain(base.iter().map(String::as_str)).collect();
            let (_, base) = view(dir.path(), "base", &base, &[]);
            let (old, _) = view(dir.path(), "old", &old.iter().map(String::as_str).collect::<Vec<_>>(), &base);
            let (new, _) = view(dir.path(), "new", &new.iter().map(String::as_str).collect::<Vec<_>>(), &base);
            let c = Comparison { old: &old, new: &new, shared: base.len(), rule: Rule::Content, removals: Removals::All };
            let (before, after) = (listed(&old), listed(&new));
            let mut want = BTreeMap::new();
            for path in before.keys().chain(after.keys()) {
                let kind = match (before.get(path), after.get(path)) {
                    (Some(_), None) => Kind::Removed,
                    (None, Some(_)) => Kind::Added,
                    (Some(a), Some(b)) if a != b => Kind::Modified,
                    _ => continue,
                };
                want.insert(path.clone(), kind);
            }
            // Directories above are named as modified.
            for path in want.keys().cloned().collect::<Vec<_>>() {
                let mut above = path.as_slice();
                while let Some(at) = above.iter().rposition(|b| *b == b'/') {
                    above = &above[..at];
                    want.entry(above.to_vec()).or_insert(Kind::Modified);
                }
            }
            let got = told(&c);
            let order: Vec<Vec<&[u8]>> = got.iter().map(|c| c.path.split(|b| *b == b'/').collect()).collect();
            prop_assert!(order.is_sorted(), "{:?}", got);
            let owned = |told: &Change| match told.by {
                None => told.directory && told.kind == Kind::Modified,
                Some((side, layer)) => c.own(side, layer),
            };
            prop_assert!(got.iter().all(owned), "wrong makers: {:?}", got);
            let got: BTreeMap<Vec<u8>, Kind> = got.into_iter().map(|c| (c.path, c.kind)).collect();
            prop_assert_eq!(got, want);
        }
    }
}
