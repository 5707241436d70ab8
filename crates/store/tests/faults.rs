//! A process that works on a store is killed at one system call after the other, and is told that calls failed: what
//! the next one finds is the state before a command or after it, whole, and nothing left over.
//!
//! `strace` strikes: `-e inject=CALL:signal=KILL:when=N`. Which calls and how often they are made is counted first.

#![allow(clippy::unwrap_used)]

mod support;

use dhow_store::{Store, StoreConfig};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Head, Tar, config, docker_archive, list};

/// System calls by which a store changes anything, or learns of it.
const CALLS: &str = "openat,openat2,mkdir,mkdirat,rename,renameat,renameat2,write,writev,pwrite64,fsync,fdatasync,\
                     syncfs,unlink,unlinkat,rmdir,linkat,link,mknodat,symlinkat,fchown,fchownat,fchmod,fchmodat,\
                     fsetxattr,lsetxattr,setxattr,ftruncate,utimensat,close,mmap,flock,fcntl,pread64,getdents64,clone3";
/// What calls are told to have failed with, and which calls those are.
const ERRORS: [(&str, &str); 4] = [
    (
        "ENOSPC",
        "openat,mkdir,mkdirat,rename,renameat,write,pwrite64,fsync,fdatasync,syncfs,linkat,mknodat,symlinkat,\
         fsetxattr,ftruncate",
    ),
    (
        "EIO",
        "openat,openat2,mkdir,mkdirat,rename,renameat,write,pwrite64,fsync,fdatasync,syncfs,unlinkat,unlink,linkat,\
         mknodat,symlinkat,fchown,fchmod,fsetxattr,ftruncate,utimensat,pread64,getdents64,read",
    ),
    ("EDQUOT", "openat,mkdir,mkdirat,write,pwrite64,mknodat,symlinkat,fchown,rename"),
    ("EMFILE", "openat,openat2"),
];

/// How many times each test strikes; `DHOW_FAULT_ROUNDS` sets another number.
const ROUNDS: usize = 320;

fn rounds() -> usize {
    std::env::var("DHOW_FAULT_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS)
}

/// Names of images and which image they mean.
type State = BTreeMap<String, String>;

/// A root, the commands and what every command leads to.
struct Range {
    dir: tempfile::TempDir,
    script: Vec<String>,
    /// The image that a name means when it is given first.
    ids: State,
    slowest: Duration,
}

fn layers() -> [Vec<u8>; 3] {
    let one = (0..6u8).fold(Tar::new().dir("d"), |t, i| t.file(format!("d/f{i}"), &vec![i; 700 * usize::from(i)]));
    let one = one.file("d/f3", b"replaces an earlier one").hardlink("same", "d/f1").symlink("link", "d/f1").end();
    let two = Tar::new()
        .file("gone/.wh.x", b"")
        .file("opq/.wh..wh..opq", b"")
        .pax(&[("SCHILY.xattr.user.mime", b"text/plain")])
        .head(Head { mode: 0o4755, uid: b"0000017\0".to_vec(), ..Head::new(b'0', "setuid") })
        .node(b'6', "pipe", (0, 0))
        .end();
    [one, two, Tar::new().file("three", &[3; 5000]).end()]
}

impl Range {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [one, two, three] = layers();
        let images = [("base:1", vec![one.clone()]), ("app:1", vec![one, two]), ("other:1", vec![three.clone()])];
        for (tag, layers) in &images {
            let name = tag.split(':').next().unwrap();
            std::fs::write(dir.path().join(name), docker_archive(Some(tag), &config(layers), layers)).unwrap();
        }
        std::fs::write(dir.path().join("rootfs.tar"), &three).unwrap();
        let upper = dir.path().join("upper");
        std::fs::create_dir_all(upper.join("new")).unwrap();
        std::fs::write(upper.join("new/file"), "written by a container").unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let script = [
            format!("load {}", path("base")),
            format!("load {}", path("app")),
            "tag base:1 kept:1".to_owned(),
            "rmi base:1".to_owned(),
            format!("load {}", path("other")),
            "tag other:1 app:1".to_owned(),
            // The one that had the name.
            "prune".to_owned(),
            "empty".to_owned(),
            format!("import {} made:1", path("rootfs.tar")),
            format!("commit made:1 {} done:1", path("upper")),
            "rmi other:1".to_owned(),
            "rmi made:1".to_owned(),
            "rmi kept:1".to_owned(),
            "rmi app:1".to_owned(),
            "rmi done:1".to_owned(),
            "check".to_owned(),
        ];
        std::fs::write(dir.path().join("script"), script.join("\n")).unwrap();
        let mut range = Self { dir, script: Vec::new(), ids: BTreeMap::new(), slowest: Duration::ZERO };
        range.learn(&script);
        range.script = script.to_vec();
        range
    }

    /// Carries every command out undisturbed, to learn which id a name will have.
    fn learn(&mut self, script: &[String]) {
        for line in script.iter().filter(|l| !l.starts_with("rmi") && !l.starts_with("tag app")) {
            std::fs::write(self.dir.path().join("line"), line).unwrap();
            let out = Command::new(program()).arg(self.root()).arg(self.dir.path().join("line")).output().unwrap();
            assert!(String::from_utf8_lossy(&out.stdout).contains("done 0"), "{line}: {out:?}");
            if line.starts_with("tag") || matches!(line.as_str(), "check" | "prune" | "empty") {
                continue;
            }
            let store = Store::open(&self.root(), StoreConfig { keep_blobs: true, ..StoreConfig::default() }).unwrap();
            let name = match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["load", path] => format!("{}:1", Path::new(path).file_name().unwrap().display()),
                words => (*words.last().unwrap()).to_owned(),
            };
            self.ids.insert(name.clone(), store.resolve(&name).unwrap().id.to_string());
        }
        self.after("learning");
    }

    /// What names there are when these commands were carried out. The empty name is that of an image without one.
    fn state(&self, done: impl Iterator<Item = usize>) -> State {
        let mut now = State::new();
        for number in done {
            let words: Vec<&str> = self.script[number].split(' ').collect();
            let (name, id) = match words.as_slice() {
                ["load", path] => {
                    let name = format!("{}:1", Path::new(path).file_name().unwrap().display());
                    let id = self.ids.get(&name).cloned();
                    (name, id)
                }
                ["import", _, name] | ["commit", _, _, name] => ((*name).to_owned(), self.ids.get(*name).cloned()),
                ["tag", source, name] => ((*name).to_owned(), now.get(*source).cloned()),
                ["rmi", name] => {
                    now.remove(*name);
                    continue;
                }
                ["prune"] => {
                    now.remove("");
                    continue;
                }
                _ => continue,
            };
            let Some(id) = id else { continue };
            let before = now.insert(name, id);
            if let Some(lost) = before.filter(|lost| !now.values().any(|id| id == lost)) {
                now.insert(String::new(), lost);
            }
        }
        now
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Runs the commands under strace with these options; gives the lines of output, and how the program ended.
    fn run(&self, options: &[&str]) -> (Vec<String>, Option<i32>) {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(self.dir.path().join("trace")).args(options).arg(program());
        strace.arg(self.root()).arg(self.dir.path().join("script"));
        let out = strace.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(!said.contains("panicked"), "{options:?}: {said}");
        (String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect(), out.status.code())
    }

    /// Opens the store as the next process would, and looks at everything; then makes it empty again.
    fn after(&mut self, what: &str) -> State {
        let begin = Instant::now();
        let store = match Store::open(&self.root(), StoreConfig { keep_blobs: true, ..StoreConfig::default() }) {
            Ok(store) => store,
            Err(e) => panic!("{what}: the store can't be opened: {e}"),
        };
        self.slowest = self.slowest.max(begin.elapsed());
        store.wait_for_trash();
        for dir in ["tmp", "trash"] {
            assert_eq!(list(&self.root().join(dir)), Vec::<String>::new(), "{what}: {dir}");
        }
        assert_eq!(store.verify().unwrap(), Vec::<String>::new(), "{what}");
        let mut state = State::new();
        for image in store.images().unwrap() {
            let names: Vec<String> = image.references.iter().map(dhow_types::Reference::familiar).collect();
            let names = if names.is_empty() { vec![String::new()] } else { names };
            state.extend(names.into_iter().map(|n| (n, image.id.to_string())));
            store.remove(&image.id.to_string(), true, &|_| None).unwrap();
        }
        store.wait_for_trash();
        for dir in ["layers", "recipes", "blobs/sha256", "tmp", "trash"] {
            assert_eq!(list(&self.root().join(dir)), Vec::<String>::new(), "{what}: {dir} when all is removed");
        }
        state
    }
}

/// The example `strike`, which cargo builds with the tests.
fn program() -> PathBuf {
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let path = dir.join("examples/strike");
    assert!(path.exists(), "{} is missing: build the examples", path.display());
    path
}

/// How often each call is made by the thread that makes it most, in a run that nothing disturbs.
fn counted(range: &mut Range, calls: &str) -> BTreeMap<String, usize> {
    let (lines, code) = range.run(&["-e", &format!("trace={calls}")]);
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(lines.iter().all(|l| l.starts_with("done")), "{lines:?}");
    let state = range.after("undisturbed");
    assert_eq!(state, range.state(0..range.script.len()));
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in std::fs::read_to_string(range.dir.path().join("trace")).unwrap().lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        *counts.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((call, _), n) in counts {
        let entry: &mut usize = most.entry(call).or_default();
        *entry = (*entry).max(n);
    }
    most
}

/// Where to strike: every call at growing numbers, `rounds` in all, shifted at random.
fn plan(counts: &BTreeMap<String, usize>, rounds: usize, random: &mut Random) -> Vec<(String, usize)> {
    let mut plan = Vec::new();
    // The rare ones first and entirely, the rest of the rounds for the others.
    let mut calls: Vec<(&String, usize)> = counts.iter().map(|(c, n)| (c, *n)).collect();
    calls.sort_by_key(|c| c.1);
    let mut left = rounds;
    for (index, (call, n)) in calls.iter().enumerate() {
        let share = (left / (calls.len() - index)).clamp(1, *n);
        left = left.saturating_sub(share);
        for i in 0..share {
            let (from, to) = (i * n / share, (i + 1) * n / share);
            plan.push(((*call).clone(), 1 + from + random.below(to - from)));
        }
    }
    plan
}

struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = std::env::var("DHOW_FAULT_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
            u64::from(std::process::id()) ^ Instant::now().elapsed().as_nanos() as u64 ^ jiff_nanos()
        });
        tell(&format!("seed: DHOW_FAULT_SEED={seed}"));
        Self(seed)
    }
    fn below(&mut self, n: usize) -> usize {
        // An LCG is random enough to move a point in a list.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

fn jiff_nanos() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// Whether strace can do this here; if not, the test says so where the runner counts it.
fn possible(name: &str) -> bool {
    let ran = Command::new("strace").args(["-f", "-qq", "-e", "inject=close:signal=KILL:when=1", "true"]).output();
    let why = match ran {
        Err(e) => format!("strace can't be run: {e}"),
        Ok(out) if out.status.success() || String::from_utf8_lossy(&out.stderr).contains("ptrace") => {
            format!("strace can't inject here: {}", String::from_utf8_lossy(&out.stderr).trim())
        }
        Ok(_) => return true,
    };
    // Not by the macro, whose output is shown for failures only.
    let _ = writeln!(std::io::stdout(), "\ntest {name} ... ignored, {why}");
    false
}

/// The commands that were answered: their numbers, and whether they were done.
fn answered(lines: &[String]) -> Vec<(usize, bool)> {
    lines
        .iter()
        .filter_map(|l| {
            let (word, rest) = l.split_once(' ')?;
            Some((rest.split(':').next()?.parse().ok()?, word == "done"))
        })
        .collect()
}

#[test]
fn killed_at_every_system_call() {
    if !possible("killed_at_every_system_call") {
        return;
    }
    let mut range = Range::new();
    let counts = counted(&mut range, CALLS);
    let mut random = Random::new();
    let plan = plan(&counts, rounds(), &mut random);
    let mut killed = 0;
    for (call, when) in &plan {
        let what = format!("{call} number {when}");
        let (lines, code) =
            range.run(&["-e", &format!("trace={call}"), "-e", &format!("inject={call}:signal=KILL:when={when}")]);
        let answers = answered(&lines);
        assert!(answers.iter().all(|a| a.1), "{what}: {lines:?}");
        let done = answers.len();
        let state = range.after(&what);
        let (old, new) = (range.state(0..done), range.state(0..(done + 1).min(range.script.len())));
        assert!(state == old || state == new, "{what}: after {lines:?} there is {state:?}, not {old:?} or {new:?}");
        killed += usize::from(code != Some(0));
    }
    // Threads share the work differently from run to run, so that a few numbers are never reached.
    assert!(killed * 10 >= plan.len() * 7, "only {killed} of {} runs were struck", plan.len());
    tell(&format!("faults: killed {killed} times, slowest start after it {:?}", range.slowest));
}

#[test]
fn told_that_a_system_call_failed() {
    if !possible("told_that_a_system_call_failed") {
        return;
    }
    let mut range = Range::new();
    let mut random = Random::new();
    let (mut struck, mut refused) = (0, 0);
    let mut total = 0;
    for (error, calls) in ERRORS {
        let counts = counted(&mut range, calls);
        for (call, when) in plan(&counts, rounds() / ERRORS.len(), &mut random) {
            total += 1;
            let what = format!("{error} from {call} number {when}");
            let (lines, code) =
                range.run(&["-e", &format!("trace={call}"), "-e", &format!("inject={call}:error={error}:when={when}")]);
            let trace = std::fs::read_to_string(range.dir.path().join("trace")).unwrap();
            struck += usize::from(trace.contains("(INJECTED)"));
            // An error in what comes before `main`, or in telling what was done, is not the store's.
            if code != Some(0) || lines.is_empty() {
                range.after(&what);
                continue;
            }
            let state = range.after(&what);
            let answers = answered(&lines);
            refused += answers.iter().filter(|a| !a.1).count();
            // A command that failed changed nothing.
            let want = range.state(answers.iter().filter(|a| a.1).map(|a| a.0));
            assert_eq!(state, want, "{what}: {lines:?}");
            for line in lines.iter().filter(|l| l.starts_with("failed")) {
                assert!(line.split_once(": ").is_some_and(|(_, why)| !why.is_empty()), "{what}: {line}");
            }
        }
    }
    assert!(struck * 10 >= total * 7, "only {struck} of {total} runs were struck");
    tell(&format!("faults: {struck} failing system calls, {refused} commands refused"));
}

/// Said also when the test passes.
fn tell(text: &str) {
    let _ = writeln!(std::io::stdout(), "\n{text}");
}

/// With 200 images on disk a start takes no longer than it must; how long is said, not judged.
#[test]
fn a_start_with_two_hundred_images() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    {
        let store = Store::open(&root, StoreConfig::default()).unwrap();
        let shared: Vec<Vec<u8>> = (0..4u8).map(|i| Tar::new().file(format!("l{i}"), &[i; 100]).end()).collect();
        for i in 0..200 {
            let mut layers = shared.clone();
            layers.push(Tar::new().file(format!("own{i}"), b"x").end());
            let archive = docker_archive(Some(&format!("image:{i}")), &config(&layers), &layers);
            store.load(archive.as_slice(), &mut |_| {}).unwrap();
        }
    }
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let begin = Instant::now();
        let store = Store::open(&root, StoreConfig::default()).unwrap();
        best = best.min(begin.elapsed());
        assert_eq!(store.images().unwrap().len(), 200);
    }
    tell(&format!("a store with 200 images and 204 layers opens in {best:?}"));
    assert!(Path::new(&root).join("layers").is_dir());
}
