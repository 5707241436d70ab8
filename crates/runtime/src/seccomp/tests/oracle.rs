//! libseccomp as a second opinion, through its Python binding (Debian package python3-seccomp).

use super::*;
use crate::seccomp::default_profile;
use std::io::Write;
use std::process::{Command, Stdio};

/// libseccomp's program, and the names it does not know by architecture.
fn libseccomp(doc: &Seccomp) -> (Vec<u64>, Vec<(Architecture, Vec<String>)>) {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", include_str!("oracle.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs the Debian packages python3 and python3-seccomp");
    child.stdin.take().unwrap().write_all(serde_json::to_string(doc).unwrap().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "this test needs the Debian package python3-seccomp");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let hex = lines.next().unwrap().as_bytes();
    let bytes: Vec<u8> =
        hex.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    let program = bytes.chunks(8).map(|i| u64::from_le_bytes(i.try_into().unwrap())).collect();
    let unknown = lines.map(|line| {
        let mut words = line.split(' ');
        let architecture = serde_json::from_str(&format!("\"SCMP_ARCH_{}\"", words.next().unwrap())).unwrap();
        (architecture, words.map(str::to_owned).collect())
    });
    (program, unknown.collect())
}

/// Every number up to the newest that the document names, with arguments from `args`.
fn compare(doc: &Seccomp, arch: Arch, args: &[[u64; 6]]) -> usize {
    let ours = compile(doc, arch).unwrap();
    let (theirs, unknown) = libseccomp(doc);
    let mut compared = 0;
    for (architecture, unknown) in unknown {
        let number_of = |name: &str| Call::named(name).and_then(|c| c.number(architecture));
        let unknown: Vec<u32> = unknown.iter().filter_map(|name| number_of(name)).collect();
        let named = doc.syscalls.iter().flat_map(|rule| &rule.names).filter_map(|name| number_of(name));
        // Above, dhow answers ENOSYS as runc does, which libseccomp leaves to its caller.
        let newest = named.filter(|&n| n < 0xf0000).max().unwrap();
        for number in (0..=newest).filter(|number| !unknown.contains(number)) {
            for args in args {
                let (audit, presented) = presented(architecture, number);
                let data = Data { number: presented, arch: audit, args: *args };
                let (ours, _) = interpreter::run(ours.instructions(), &data);
                let (theirs, _) = interpreter::run(&theirs, &data);
                assert_eq!(ours, theirs, "{architecture:?} {number} {args:x?}");
                compared += 1;
            }
        }
    }
    compared
}

/// First arguments around all values that the default profile compares with.
fn arguments() -> Vec<[u64; 6]> {
    [0, 1, 8, 9, 10, 37, 38, 39, 40, 41, 0x20000, 0x20008, 0x20009, 0xffff_ffff, 0x1200_0011, 0x7e02_0000, 0x0200_0000]
        .map(|first| [first, 38, 0, 0, 0, 0])
        .to_vec()
}

#[test]
fn the_default_profile() {
    for caps in [&[][..], &["CAP_SYS_ADMIN"], &["CAP_SYS_PTRACE", "CAP_SYS_CHROOT", "CAP_BPF", "CAP_SYS_TIME"]] {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let compared = compare(&default_profile(caps, arch, NEW_KERNEL), arch, &arguments());
            assert!(compared > 12_000, "{compared}");
        }
    }
}

#[test]
fn several_actions_and_all_operators() {
    let doc = parse(
        r#"{"defaultAction":"SCMP_ACT_KILL","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
        "syscalls":[
        {"names":["read","exit","exit_group"],"action":"SCMP_ACT_ALLOW"},
        {"names":["uname"],"action":"SCMP_ACT_ERRNO","errnoRet":99},
        {"names":["getpid"],"action":"SCMP_ACT_TRAP"},
        {"names":["getuid"],"action":"SCMP_ACT_TRACE","errnoRet":3},
        {"names":["gettid"],"action":"SCMP_ACT_LOG"},
        {"names":["umask"],"action":"SCMP_ACT_KILL_PROCESS"},
        {"names":["dup"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":9,"op":"SCMP_CMP_NE"}]},
        {"names":["dup2"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":9,"op":"SCMP_CMP_LT"},
            {"index":1,"value":39,"op":"SCMP_CMP_LT"}]},
        {"names":["dup3"],"action":"SCMP_ACT_ERRNO","errnoRet":2,
            "args":[{"index":0,"value":9,"op":"SCMP_CMP_LE"}]},
        {"names":["close"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":9,"op":"SCMP_CMP_GE"}]},
        {"names":["fsync"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":9,"op":"SCMP_CMP_GT"}]},
        {"names":["mprotect"],"action":"SCMP_ACT_ALLOW",
            "args":[{"index":0,"value":61440,"valueTwo":4096,"op":"SCMP_CMP_MASKED_EQ"}]},
        {"names":["sync_file_range"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},
            {"index":0,"value":38,"op":"SCMP_CMP_EQ"}]}
        ]}"#,
    );
    let mut args = arguments();
    args.extend([[0x1000, 0, 0, 0, 0, 0], [0x3000, 0, 0, 0, 0, 0]]);
    assert!(compare(&doc, Arch::X86_64, &args) > 5_000);
}

#[test]
fn upper_halves_on_64_bits() {
    let doc = parse(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],"syscalls":[
        {"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":8589934593,"op":"SCMP_CMP_EQ"}]},
        {"names":["write"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":8589934593,"op":"SCMP_CMP_NE"}]},
        {"names":["mmap"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":8589934593,"op":"SCMP_CMP_LT"}]},
        {"names":["munmap"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":8589934593,"op":"SCMP_CMP_LE"}]},
        {"names":["brk"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":8589934593,"op":"SCMP_CMP_GT"}]},
        {"names":["poll"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":8589934593,"op":"SCMP_CMP_GE"}]},
        {"names":["lseek"],"action":"SCMP_ACT_ALLOW",
            "args":[{"index":1,"value":12884901903,"valueTwo":8589934593,"op":"SCMP_CMP_MASKED_EQ"}]}
        ]}"#,
    );
    let args: Vec<[u64; 6]> = [0, 1, 2, 0x2_0000_0000, 0x2_0000_0001, 0x2_0000_0002, 0x3_0000_0000, 0x1_ffff_ffff]
        .into_iter()
        .chain([0x1_0000_0001, 0x6_0000_0011, u64::MAX])
        .map(|second| [0, second, 0, 0, 0, 0])
        .collect();
    assert!(compare(&doc, Arch::X86_64, &args) > 100);
}
