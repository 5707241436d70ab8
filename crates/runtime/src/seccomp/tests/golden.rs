//! The default profile against a golden list taken from Docker's own file, and Docker's profile format.

use super::*;
use crate::seccomp::default_profile;
use crate::seccomp::profile::{MAX_PROFILE_BYTES, from_docker_profile};

/// Entries `architecture [capability]` and the names that follow.
fn golden() -> Vec<(Arch, Option<&'static str>, Vec<&'static str>)> {
    let mut entries: Vec<(Arch, Option<&str>, Vec<&str>)> = Vec::new();
    for line in include_str!("docker-default.golden").lines().filter(|line| !line.starts_with('#')) {
        let names = match line.split_once(':') {
            Some((head, names)) => {
                let mut words = head.split(' ');
                let arch = match words.next().unwrap() {
                    "amd64" => Arch::X86_64,
                    "arm64" => Arch::Aarch64,
                    other => panic!("{other}"),
                };
                entries.push((arch, words.next(), Vec::new()));
                names
            }
            None => line,
        };
        entries.last_mut().unwrap().2.extend(names.split_whitespace());
    }
    entries
}

#[test]
fn the_default_profile_allows_what_docker_allows() {
    let entries = golden();
    assert_eq!(entries.len(), 30);
    for (arch, cap, names) in &entries {
        let caps: Vec<&str> = cap.iter().copied().collect();
        let base = &entries.iter().find(|(a, cap, _)| a == arch && cap.is_none()).unwrap().2;
        let doc = default_profile(&caps, *arch, NEW_KERNEL);
        let program = compile(&doc, *arch).unwrap();
        let conditional = ["socket", "personality", "clone", "clone3"];
        let mut checked = 0;
        for architecture in doc.architectures {
            for &(name, _) in TABLE {
                let Some(number) = Call::named(name).unwrap().number(architecture) else { continue };
                let allowed = names.contains(&name) || base.contains(&name);
                if !allowed && conditional.contains(&name) {
                    continue;
                }
                let got = answer_number(&program, architecture, number, &[u64::MAX, u64::MAX]);
                assert_eq!(got == ALLOW, allowed, "{name} {architecture:?} with {cap:?}: {got:x}");
                assert!(allowed || got == EPERM || got == ENOSYS, "{name}: {got:x}");
                checked += 1;
            }
        }
        assert!(checked > 700, "{checked}");
    }
}

#[test]
fn calls_under_conditions() {
    use Architecture::X86_64;
    let program = |caps: &[&str]| compile(&default_profile(caps, Arch::X86_64, NEW_KERNEL), Arch::X86_64).unwrap();
    let plain = program(&[]);
    let admin = program(&["CAP_SYS_ADMIN"]);
    for (name, args, without, with) in [
        ("clone", 0x0120_0011_u64, ALLOW, ALLOW),
        ("clone", 0x1000_0011, EPERM, ALLOW), // CLONE_NEWUSER
        ("clone", 0x0002_0000, EPERM, ALLOW), // CLONE_NEWNS
        ("clone3", 0, ENOSYS, ALLOW),
        ("unshare", 0, EPERM, ALLOW),
        ("socket", 37, ALLOW, ALLOW),
        ("socket", 38, EPERM, EPERM),
        ("socket", 39, ALLOW, ALLOW),
        ("socket", 40, EPERM, EPERM),
        ("socket", 41, ALLOW, ALLOW),
        ("personality", 0xffff_ffff, ALLOW, ALLOW),
        ("personality", 0x0040_0000, EPERM, EPERM), // ADDR_NO_RANDOMIZE
        ("keyctl", 0, EPERM, EPERM),
        ("userfaultfd", 0, EPERM, EPERM),
        ("io_uring_setup", 0, EPERM, EPERM),
        ("file_setattr", 0, ENOSYS, ENOSYS), // newer than the profile
    ] {
        assert_eq!(answer(&plain, X86_64, name, &[args]), without, "{name} {args:#x}");
        assert_eq!(answer(&admin, X86_64, name, &[args]), with, "{name} {args:#x} with CAP_SYS_ADMIN");
    }
}

#[test]
fn old_kernels_do_not_get_ptrace() {
    let answer_on = |minor| {
        let kernel = KernelVersion { major: 4, minor };
        let program = compile(&default_profile::<&str>(&[], Arch::X86_64, kernel), Arch::X86_64).unwrap();
        answer(&program, Architecture::X86_64, "ptrace", &[])
    };
    assert_eq!((answer_on(7), answer_on(8)), (EPERM, ALLOW));
}

#[test]
fn kernel_versions() {
    let version = |major, minor| Some(KernelVersion { major, minor });
    for (text, expected) in [
        ("6.1.0-31-cloud-amd64", version(6, 1)),
        ("4.8", version(4, 8)),
        ("5.15-rc1+", version(5, 15)),
        ("6", None),
        ("x.y", None),
        ("", None),
        ("99999999999.1", None),
    ] {
        assert_eq!(KernelVersion::parse(text), expected, "{text}");
    }
    assert!(KernelVersion::running() > KernelVersion { major: 4, minor: 0 });
}

const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
    "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
               {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":null}],
    "syscalls":[
    {"names":["read"],"action":"SCMP_ACT_ALLOW","args":null,"includes":{},"excludes":{}},
    {"name":"write","action":"SCMP_ACT_ALLOW"},
    {"names":["mount","umount2"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_A","CAP_B"]}},
    {"names":["bpf"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_A"]}},
    {"names":["arch_prctl"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["amd64","x32"]}},
    {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
    {"names":["getpid"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"4.8"}}]}"#;

#[test]
fn conditions_of_a_docker_profile() {
    let names = |caps: &[&str], arch, kernel| {
        let doc = from_docker_profile(PROFILE, caps, arch, kernel).unwrap();
        (doc.architectures, doc.syscalls.into_iter().flat_map(|rule| rule.names).collect::<Vec<_>>().join(" "))
    };
    let old = KernelVersion { major: 3, minor: 10 };
    let x86 = vec![Architecture::X86_64, Architecture::X86];
    assert_eq!(names(&[], Arch::X86_64, NEW_KERNEL), (x86.clone(), "read write bpf arch_prctl ptrace".into()));
    assert_eq!(names(&["CAP_A"], Arch::X86_64, old), (x86.clone(), "read write arch_prctl getpid".into()));
    assert_eq!(
        names(&["CAP_B", "CAP_A"], Arch::X86_64, NEW_KERNEL),
        (x86, "read write mount umount2 arch_prctl ptrace".into())
    );
    assert_eq!(names(&[], Arch::Aarch64, NEW_KERNEL), (vec![Architecture::Aarch64], "read write bpf ptrace".into()));
}

#[test]
fn faulty_profiles_are_refused() {
    for (json, word) in [
        (PROFILE.replace("\"archMap\"", "\"architectures\":[\"SCMP_ARCH_X86\"],\"archMap\""), "not both"),
        (PROFILE.replace("\"name\":\"write\"", "\"name\":\"write\",\"names\":[\"read\"]"), "name: write"),
        (PROFILE.replace("\"minKernel\":\"4.8\"", "\"minKernel\":\"new\""), "\"new\""),
        (PROFILE.replace("SCMP_ACT_ERRNO", "SCMP_ACT_NONE"), "SCMP_ACT_NONE"),
        (" ".repeat(MAX_PROFILE_BYTES + 1), "1048576"),
        ("{".into(), "decoding seccomp profile failed"),
    ] {
        let error = from_docker_profile::<&str>(&json, &[], Arch::X86_64, NEW_KERNEL).unwrap_err();
        assert!(error.text().contains(word), "{error}");
    }
}
