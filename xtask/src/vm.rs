//! `cargo xtask vm`: a Debian kernel with nothing but cgroup v2, in qemu under plain emulation, and tests in it.
//!
//! The machine is made anew each time, of packages (kernel, busybox) and of statically linked test programs, as one
//! initial RAM file system. Results come over the serial line, between marks that `init.sh` prints.

mod power;

use crate::cpio::Cpio;
use crate::tally::Tally;
use crate::{images, modules, packages, run};
use anyhow::{Context as _, Result, bail};
use cargo_metadata::Message;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What containers need of the kernel and Debian builds as modules.
const MODULES: &[&str] = &[
    "overlay",
    "veth",
    "bridge",
    "loop",
    "virtio_pci",
    "virtio_blk",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_nat",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_fib_ipv4",
    "nft_fib_inet",
    "nft_masq",
    "nft_nat",
    "nft_reject_inet",
];

/// Memory of the machine, in MiB.
const MEMORY: u32 = 1024;

/// Packages whose tests run in the machine.
const PACKAGES: &[&str] = &["dhow-cgroup", "dhow-runtime", "dhow-shim"];

/// End-to-end cases of the short selection: what differs between cgroup v1 and v2, and one of each road.
const SHORT: &[&str] =
    &["limits::", "run::streams", "run::hello", "exec::output", "network::published_tcp", "security::layers_are_plain"];

/// How much to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The tests of control groups, and [`SHORT`]: a few minutes.
    Short,
    /// All tests of [`PACKAGES`], and all end-to-end cases.
    Full,
}

/// One program to run in the machine.
struct Step {
    name: String,
    command: String,
}

/// `cargo xtask vm [--short|--full] [--power-cuts N] [--binary FILE]... [FILTER...]`.
pub fn command(words: &[String]) -> Result<bool> {
    let (mut extent, mut binaries, mut filters) = (Extent::Short, Vec::new(), Vec::new());
    let mut cuts = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--short" => extent = Extent::Short,
            "--full" => extent = Extent::Full,
            "--power-cuts" => cuts = Some(words.next().context("--power-cuts wants a number")?.parse()?),
            "--binary" => binaries.push(PathBuf::from(words.next().context("--binary wants a file")?)),
            _ if word.starts_with('-') => bail!("unknown option {word}"),
            _ => filters.push(word.clone()),
        }
    }
    let mut tally = Tally::default();
    if let Some(cuts) = cuts {
        power::cuts(cuts, &mut tally)?;
    } else if binaries.is_empty() {
        selection(extent, &filters, &mut tally)?;
    } else {
        let mut machine = Machine::new()?;
        for binary in &binaries {
            machine.program(binary, &filters.join(" "))?;
        }
        machine.boot(Extent::Full, &mut tally)?;
    }
    println!("{}", tally.report());
    Ok(tally.failures() == 0)
}

/// Builds and runs a selection of the project's tests, and counts them in `tally`.
pub fn selection(extent: Extent, filters: &[String], tally: &mut Tally) -> Result<()> {
    let mut machine = Machine::new()?;
    for program in test_programs(extent)? {
        // The second opinion of libseccomp needs Python; no kernel has a part in it.
        machine.program(&program, "--skip seccomp::tests::oracle")?;
    }
    let built = run::built("debug")?;
    run::run(run::cargo().args(["build", "--workspace", "--bins"]))?;
    machine.add("bin/dhow", &built.join("dhow"))?;
    machine.add("bin/dhow-e2e", &built.join("dhow-e2e"))?;
    if extent == Extent::Full {
        // Tests of the runtime find their programs by the path at which they were built.
        for name in ["runtime-test-oci", "runtime-test-launch"] {
            let program = built.join(name);
            machine.add(program.to_string_lossy().trim_start_matches('/'), &program)?;
        }
    }
    let busybox = images::make("busybox", &run::root().join("images"), false)?;
    machine.cpio.file("system/images/busybox.tar", 0o644, &busybox)?;
    let chosen = match (filters.is_empty(), extent) {
        (false, _) => filters.join(" "),
        (true, Extent::Short) => SHORT.join(" "),
        (true, Extent::Full) => String::new(),
    };
    let e2e = format!("dhow-e2e --dhow /bin/dhow --images /images {chosen}");
    machine.step("e2e", &e2e);
    if extent == Extent::Full {
        // A daemon below a group with processes of its own has to make room before it can use controllers.
        machine.step(
            "e2e-nested",
            &format!("mkdir /sys/fs/cgroup/nest && echo $$ >/sys/fs/cgroup/nest/cgroup.procs && {e2e} limits::"),
        );
    }
    machine.boot(extent, tally)?;
    if filters.is_empty() { power::cuts(power::FEW, tally) } else { Ok(()) }
}

/// The test programs of [`PACKAGES`], built.
fn test_programs(extent: Extent) -> Result<Vec<PathBuf>> {
    // The whole workspace, because another selection would have other features and so build all again.
    let mut build = run::cargo();
    build.args(["test", "--workspace", "--no-run", "--message-format=json"]).stdout(Stdio::piped());
    let mut child = build.spawn().context("cargo test --no-run")?;
    let out = child.stdout.take().context("no output of cargo")?;
    let mut programs = Vec::new();
    for message in Message::parse_stream(BufReader::new(out)) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(program) = artifact.executable
            && artifact.profile.test
            && PACKAGES
                .iter()
                .any(|p| artifact.package_id.repr.contains(&format!("/{}#", p.trim_start_matches("dhow-"))))
            && (extent == Extent::Full || artifact.package_id.repr.contains("/cgroup#"))
        {
            programs.push(program.into_std_path_buf());
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("cargo test --workspace --no-run: {status}");
    }
    Ok(programs)
}

/// A machine being put together.
struct Machine {
    kernel: PathBuf,
    cpio: Cpio,
    initramfs: PathBuf,
    steps: Vec<Step>,
}

impl Machine {
    fn new() -> Result<Machine> {
        packages::ensure(&["qemu-system-x86", "binutils"])?;
        let package = packages::unpacked(&packages::real_name("linux-image-cloud-amd64", "linux-image-")?)?;
        let kernel = first_in(&package.join("boot"), "vmlinuz-")?;
        let lib = ["lib/modules", "usr/lib/modules"].iter().map(|at| package.join(at)).find(|p| p.exists());
        let dir = first_in(&lib.context("the kernel package has no lib/modules")?, "")?;

        let initramfs = run::scratch("vm")?.join("initramfs.cpio");
        let mut cpio = Cpio::create(&initramfs)?;
        let busybox = images::busybox_binary()?;
        // The first stage, and the system proper, where each applet has a link.
        cpio.directory("new")?;
        cpio.device("dev/console", 5, 1)?;
        cpio.bytes("init", 0o755, include_bytes!("init.sh"))?;
        cpio.file("bin/busybox", 0o755, &busybox)?;
        cpio.bytes("system/init", 0o755, include_bytes!("init.sh"))?;
        cpio.file("system/bin/busybox", 0o755, &busybox)?;
        for applet in run::output(Command::new(&busybox).arg("--list-full"))?.lines() {
            if !applet.ends_with("/busybox") {
                cpio.link(&format!("system/{applet}"), "/bin/busybox")?;
            }
        }
        for name in ["dev", "proc", "sys", "run", "tmp", "var", "root", "mnt", "etc", "home", "opt"] {
            cpio.directory(&format!("system/{name}"))?;
        }
        cpio.device("system/dev/console", 5, 1)?;
        cpio.device("system/dev/null", 1, 3)?;
        for (name, text) in [
            ("passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
            ("group", "root:x:0:\nnogroup:x:65534:\n"),
            ("hosts", "127.0.0.1 localhost\n"),
            ("resolv.conf", ""),
            ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
        ] {
            cpio.bytes(&format!("system/etc/{name}"), 0o644, text.as_bytes())?;
        }
        for (number, module) in modules::in_order(&dir, MODULES)?.iter().enumerate() {
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            cpio.file(&format!("system/modules/{number:03}-{name}"), 0o644, module)?;
        }
        Ok(Machine { kernel, cpio, initramfs, steps: Vec::new() })
    }

    /// A copy of a program, without its symbols, which are most of it.
    fn add(&mut self, name: &str, program: &Path) -> Result<()> {
        let stripped = run::scratch("vm")?.join("stripped");
        run::run(Command::new("strip").arg("-o").arg(&stripped).arg(program))?;
        self.cpio.file(&format!("system/{name}"), 0o755, &stripped)
    }

    /// A statically linked test program, run with `arguments`.
    fn program(&mut self, program: &Path, arguments: &str) -> Result<()> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.add(&format!("tests/{name}"), program)?;
        // One thread: the emulated machine is slow, and tests that measure time should not race each other.
        self.step(&name, &format!("/tests/{name} --test-threads=1 {arguments}"));
        Ok(())
    }

    fn step(&mut self, name: &str, command: &str) {
        self.steps.push(Step { name: name.to_owned(), command: command.to_owned() });
    }

    /// Boots, runs all steps, and counts their results.
    fn boot(mut self, extent: Extent, tally: &mut Tally) -> Result<()> {
        let steps: String = self.steps.iter().map(|s| format!("{}|{}\n", s.name, s.command)).collect();
        self.cpio.bytes("system/steps", 0o644, steps.as_bytes())?;
        self.cpio.finish()?;
        // The guest can't be waited for otherwise if its kernel hangs.
        let limit = if extent == Extent::Short { "1200" } else { "3600" };
        let mut qemu = Command::new("timeout");
        qemu.args(["--kill-after=5", limit, "qemu-system-x86_64"])
            // Emulation also where /dev/kvm is there: nested virtualisation fails in too many ways of its own.
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
            .args(["-m", &MEMORY.to_string(), "-display", "none", "-serial", "stdio", "-monitor", "none"])
            .args(["-no-reboot", "-nic", "none", "-kernel"])
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initramfs)
            .args(["-append", "console=ttyS0 quiet loglevel=1 panic=-1 cgroup_no_v1=all"])
            .stdin(Stdio::null());
        let start = Instant::now();
        let mut serial = Serial { tally, place: String::new(), ended: 0, done: false, failures: 0 };
        let status = run::lines(&mut qemu, |line| serial.line(line, start))?;
        let (ended, done) = (serial.ended, serial.done);
        if !done {
            let missing: Vec<_> = self.steps.iter().skip(ended).map(|s| s.name.as_str()).collect();
            tally.add(&format!("vm (it ended before {}: {status})", missing.join(", ")), false);
        }
        Ok(())
    }
}

/// Understands what comes over the serial line.
struct Serial<'a> {
    tally: &'a mut Tally,
    place: String,
    ended: usize,
    done: bool,
    /// Failures counted when the running step began.
    failures: usize,
}

impl Serial<'_> {
    fn line(&mut self, line: &str, start: Instant) {
        println!("{line}");
        // Firmware and kernel leave escape sequences before the first mark.
        let mark = line.find("@@").map(|at| line[at + 2..].split(' ').collect::<Vec<_>>());
        match mark.as_deref() {
            Some(["begin", name]) => {
                println!("[{:.1} s after the start]", start.elapsed().as_secs_f64());
                self.place = format!("vm {name} ");
                self.failures = self.tally.failures();
            }
            Some(["end", status, _]) => {
                self.tally.ended(&self.place, *status == "0", self.failures);
                self.ended += 1;
            }
            Some(["problem", what]) => self.tally.add(&format!("vm {what} does not load"), false),
            Some(["done"]) => self.done = true,
            _ => self.tally.line(&self.place, line),
        }
    }
}

/// The first entry of a folder whose name begins with `prefix`.
fn first_in(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut found: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    found.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix)));
    found.sort();
    found.into_iter().next().with_context(|| format!("{} holds no {prefix}*", dir.display()))
}
