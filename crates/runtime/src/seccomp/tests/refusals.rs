//! What a document says in each corner where compilers differ, and what is refused by name.

use super::*;
use Architecture::{X32, X86, X86_64};

#[test]
fn a_call_of_another_architecture_kills() {
    let program = compiled(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    assert_eq!(answer_number(&program, X86_64, 0, &[]), ALLOW);
    assert_eq!(answer_number(&program, X86, 3, &[]), KILL_PROCESS);
    assert_eq!(answer_number(&program, Architecture::Aarch64, 0, &[]), KILL_PROCESS);
}

#[test]
fn x32_is_no_side_door_of_a_deny_list() {
    let deny = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mount"],"action":"SCMP_ACT_ERRNO"}]}"#;
    let program = compiled(deny);
    assert_eq!(answer(&program, X86_64, "mount", &[]), EPERM);
    assert_eq!(answer(&program, X32, "mount", &[]), ENOSYS);
    assert_eq!(answer_number(&program, X86_64, u32::MAX, &[]), ALLOW, "a tracer skips a call by -1");
    let both = deny.replacen('{', r#"{"architectures":["SCMP_ARCH_X32"],"#, 1);
    let program = compiled(&both);
    assert_eq!(answer(&program, X32, "mount", &[]), EPERM);
    assert_eq!(answer(&program, X32, "read", &[]), ALLOW);
}

#[test]
fn calls_newer_than_the_document_do_not_exist() {
    let rules = r#""syscalls":[{"names":["read","close_range"],"action":"SCMP_ACT_ALLOW"}]"#;
    let program = compiled(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO",{rules}}}"#));
    assert_eq!(answer(&program, X86_64, "mount", &[]), EPERM);
    assert_eq!(answer(&program, X86_64, "openat2", &[]), ENOSYS, "one above close_range");
    assert_eq!(answer_number(&program, X86_64, 5000, &[]), ENOSYS);
    let program = compiled(&format!(r#"{{"defaultAction":"SCMP_ACT_LOG",{rules}}}"#));
    assert_eq!(answer_number(&program, X86_64, 5000, &[]), 0x7ffc_0000);
}

#[test]
fn conditions_first_then_the_stricter_action() {
    let program = compiled(
        r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[
        {"names":["uname"],"action":"SCMP_ACT_ALLOW"},
        {"names":["uname"],"action":"SCMP_ACT_ERRNO","errnoRet":5},
        {"names":["dup3"],"action":"SCMP_ACT_ALLOW"},
        {"names":["dup3"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":5,"op":"SCMP_CMP_GE"}]},
        {"names":["dup3"],"action":"SCMP_ACT_ERRNO","errnoRet":7,"args":[{"index":0,"value":9,"op":"SCMP_CMP_EQ"}]}
        ]}"#,
    );
    assert_eq!(answer(&program, X86_64, "uname", &[]), 0x0005_0005);
    assert_eq!(answer(&program, X86_64, "dup3", &[9]), 0x0005_0007);
    assert_eq!(answer(&program, X86_64, "dup3", &[8]), ALLOW);
    assert_eq!(answer(&program, X86_64, "dup3", &[1]), ALLOW);
    assert_eq!(answer(&program, X86_64, "dup2", &[1]), KILL_PROCESS);
}

#[test]
fn an_index_that_occurs_twice_means_or() {
    let program = compiled(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["dup3"],"action":"SCMP_ACT_ALLOW","args":[
        {"index":0,"value":4,"op":"SCMP_CMP_EQ"},{"index":0,"value":6,"op":"SCMP_CMP_EQ"},
        {"index":1,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
    );
    for (args, expected) in [([4, 0], ALLOW), ([6, 0], ALLOW), ([5, 1], ALLOW), ([5, 0], EPERM)] {
        assert_eq!(answer(&program, X86_64, "dup3", &args), expected, "{args:?}");
    }
}

#[test]
fn bits_the_kernel_never_sees_do_not_dodge_a_rule() {
    let program = compiled(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["ioctl"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":21522,"op":"SCMP_CMP_EQ"}]}]}"#,
    );
    assert_eq!(answer(&program, X86_64, "ioctl", &[0, 0x5412]), EPERM);
    assert_eq!(answer(&program, X86_64, "ioctl", &[0, 0x5412 | 1 << 32]), EPERM, "CVE-2019-10063");
    assert_eq!(answer(&program, X86_64, "ioctl", &[0, 0x5413]), ALLOW);

    let profile = super::super::default_profile::<&str>(&[], Arch::X86_64, NEW_KERNEL);
    let program = compile(&profile, Arch::X86_64).unwrap();
    assert_eq!(answer(&program, X86_64, "socket", &[38]), EPERM);
    assert_eq!(answer(&program, X86_64, "socket", &[38 | 7 << 40]), EPERM, "AF_ALG with a disguise");
    assert_eq!(answer(&program, X86_64, "socket", &[40 | 1 << 63]), EPERM, "AF_VSOCK with a disguise");
    assert_eq!(answer(&program, X86_64, "socket", &[2]), ALLOW);
}

#[test]
fn x86_multiplexers_follow() {
    let program = compiled(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[
        {"names":["socket"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":38,"op":"SCMP_CMP_EQ"}]},
        {"names":["shmget"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    assert_eq!(answer(&program, X86, "socket", &[2]), ALLOW);
    assert_eq!(answer(&program, X86, "socketcall", &[1]), EPERM, "its arguments cannot be seen");
    assert_eq!(answer(&program, X86, "socketcall", &[2]), ALLOW);
    assert_eq!(answer(&program, X86, "ipc", &[23 | 1 << 16]), EPERM, "a version does not hide the call");
    assert_eq!(answer(&program, X86, "ipc", &[24]), ALLOW);

    let program = compiled(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
        {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]},
        {"names":["send"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(answer(&program, X86, "socketcall", &[1]), EPERM, "not allowed unseen");
    assert_eq!(answer(&program, X86, "socketcall", &[9]), ALLOW, "send");
}

#[test]
fn negative_numbers_on_32_bits() {
    let rule = |value: &str| {
        compiled(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[{{"names":["dup3"],
            "action":"SCMP_ACT_ALLOW","args":[{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}]}}]}}"#
        ))
    };
    let minus_one = rule("18446744073709551615");
    assert_eq!(answer(&minus_one, X86, "dup3", &[0xffff_ffff]), ALLOW);
    assert_eq!(answer(&minus_one, X86_64, "dup3", &[0xffff_ffff]), EPERM);
    assert_eq!(answer(&minus_one, X86_64, "dup3", &[u64::MAX]), ALLOW);
    let too_large = rule("4294967301");
    assert_eq!(answer(&too_large, X86, "dup3", &[5]), EPERM);
}

#[test]
fn refused_by_name() {
    let notify = |name: &str, path: &str| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"{path}",
            "syscalls":[{{"names":["{name}"],"action":"SCMP_ACT_NOTIFY"}}]}}"#
        )
    };
    let conditions =
        r#"{"names":["ioctl"],"action":"SCMP_ACT_ERRNO","args":[{"index":2,"value":VALUE,"op":"SCMP_CMP_EQ"}]}"#;
    let many: Vec<_> = (0..2000).map(|n| conditions.replace("VALUE", &n.to_string())).collect();
    let names = vec!["\"read\""; super::super::compile::MAX_NAMES + 1].join(",");
    for (json, word) in [
        (notify("write", "/x"), "write"),
        (notify("read", ""), "listenerPath"),
        (r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/x"}"#.into(), "default action"),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#.into(), "defaultErrnoRet 4096"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":4}"#.into(), "defaultErrnoRet 4"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL",
            "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#
                .into(),
            "index 6",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#.into(),
            "WAIT_KILLABLE_RECV",
        ),
        (format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#, many.join(",")), "4096"),
        (
            format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":[{names}],"action":"SCMP_ACT_KILL"}}]}}"#
            ),
            "16384",
        ),
    ] {
        match compile(&parse(&json), Arch::X86_64) {
            Err(error) => assert!(error.text().contains(word), "{error}"),
            Ok(_) => panic!("accepted, though it should be refused for {word:?}"),
        }
    }
}

#[test]
fn flags_and_listener() {
    assert_eq!(compiled(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).flags(), 4, "SPEC_ALLOW where none are given");
    assert_eq!(compiled(r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":[]}"#).flags(), 0);
    let program = compiled(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath":"/run/agent","listenerMetadata":"m",
        "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#,
    );
    assert_eq!(program.flags(), 0b1_0011);
    let listener = program.listener().unwrap();
    assert_eq!((listener.path.as_str(), listener.metadata.as_str()), ("/run/agent", "m"));
    assert_eq!(answer(&program, X86_64, "mkdir", &[]), 0x7fc0_0000);
    let json = serde_json::to_string(&program).unwrap();
    assert_eq!(serde_json::from_str::<Program>(&json).unwrap(), program);
    assert_eq!(program.to_bytes().len(), 8 * program.instructions().len());
}
