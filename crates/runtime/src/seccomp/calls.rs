//! System call numbers by name, and which arguments the kernel reads as 32 bits.
//!
//! The numbers themselves stand in `numbers`; a test compares them with an independent crate. No policy lives here.

use super::doc::Architecture;
use super::numbers::{NONE, TABLE};

/// The first of the numbers that 32-bit arm keeps for itself (`__ARM_NR_BASE`), far above the common ones.
pub(super) const ARM_PRIVATE: u32 = 0xf0000;

/// A row of the table.
#[derive(Clone, Copy)]
pub(super) struct Call {
    /// The name.
    pub name: &'static str,
    numbers: &'static [u32; 5],
}

impl Call {
    /// Finds a call by name.
    pub fn named(name: &str) -> Option<Call> {
        let at = TABLE.binary_search_by(|row| row.0.cmp(name)).ok()?;
        let (name, numbers) = &TABLE[at];
        Some(Call { name, numbers })
    }

    /// Its number for programs of `arch`; x32 without the bit that marks its calls.
    pub fn number(self, arch: Architecture) -> Option<u32> {
        let column = match arch {
            Architecture::X86_64 => 0,
            Architecture::X86 => 1,
            Architecture::X32 => 2,
            Architecture::Aarch64 => 3,
            Architecture::Arm => 4,
            _ => return None,
        };
        Some(self.numbers[column]).filter(|&n| n != NONE)
    }

    /// Whether the kernel looks at the low 32 bits of argument `index` only (an `int` or `unsigned int`).
    ///
    /// A comparison of all 64 bits of such an argument could be dodged by setting bits the kernel never sees, as
    /// has happened with the command of ioctl (CVE-2019-10063).
    pub fn argument_is_32_bits(self, index: u32) -> bool {
        NARROW.iter().any(|(name, arguments)| *name == self.name && arguments.contains(&index))
    }
}

/// Calls that filters commonly compare arguments of, with those arguments that are `int` or `unsigned int`.
const NARROW: &[(&str, &[u32])] = &[
    ("bpf", &[0, 2]),
    // The kernel drops the upper half of clone's flags itself (`lower_32_bits`).
    ("clone", &[0]),
    ("fcntl", &[0, 1]),
    ("fcntl64", &[0, 1]),
    ("futex", &[1, 2, 5]),
    ("getsockopt", &[0, 1, 2]),
    ("ioctl", &[0, 1]),
    ("ipc", &[0]),
    ("keyctl", &[0]),
    ("kill", &[0, 1]),
    ("madvise", &[2]),
    ("memfd_create", &[1]),
    ("open", &[1]),
    ("openat", &[0, 1]),
    ("perf_event_open", &[1, 2, 3]),
    ("personality", &[0]),
    ("prctl", &[0]),
    ("prlimit64", &[0, 1]),
    ("quotactl", &[0]),
    ("seccomp", &[0, 1]),
    ("setns", &[0, 1]),
    ("setpriority", &[0, 1, 2]),
    ("setsockopt", &[0, 1, 2]),
    ("socket", &[0, 1, 2]),
    ("socketcall", &[0]),
    ("socketpair", &[0, 1, 2]),
    ("syslog", &[0, 2]),
];

/// x86 programs may also reach these calls through `socketcall`; the number is its first argument (net.h, `SYS_*`).
const SOCKETCALL: &[(&str, u32)] = &[
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// The same for `ipc` (ipc.h), whose argument carries a version in its upper half.
const IPC: &[(&str, u32)] = &[
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// How an x86 program can reach a call by another: the other call, the mask on its first argument, the value there.
pub(super) fn x86_multiplexer(name: &str) -> Option<(&'static str, u32, u32)> {
    let find = |table: &[(&str, u32)]| table.iter().find(|(n, _)| *n == name).map(|&(_, number)| number);
    find(SOCKETCALL)
        .map(|number| ("socketcall", u32::MAX, number))
        .or_else(|| find(IPC).map(|number| ("ipc", 0xffff, number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_has_no_duplicates() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        // `compile` counts on numbers below 600, and on arm's eight private ones.
        assert!(TABLE.iter().flat_map(|row| row.1).all(|n| n < 600 || n == NONE || n.wrapping_sub(ARM_PRIVATE) < 8));
        for column in 0..5 {
            let mut numbers: Vec<_> = TABLE.iter().map(|row| row.1[column]).filter(|&n| n != NONE).collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            // On arm `sync_file_range2` is another name of `arm_sync_file_range`.
            assert_eq!(all - numbers.len(), usize::from(column == 4), "column {column}");
        }
    }

    #[test]
    fn numbers_agree_with_an_independent_table() {
        let mut compared = 0;
        macro_rules! compare {
            ($module:ident, $architecture:expr) => {
                for call in syscalls::$module::Sysno::iter() {
                    let name = match (stringify!($module), call.name()) {
                        // The generic table names the 64-bit form by its 32-bit name,
                        ("aarch64", "fstatat") => "newfstatat",
                        // and that crate gives 64-bit machines the calls that only 32-bit ones have.
                        ("aarch64", _) if (403..=423).contains(&call.id()) => continue,
                        (_, name) => name.trim_start_matches("r#"),
                    };
                    let ours = Call::named(name).and_then(|c| c.number($architecture));
                    assert_eq!(ours, Some(call.id() as u32), "{name} on {}", stringify!($module));
                    compared += 1;
                }
            };
        }
        compare!(x86_64, Architecture::X86_64);
        compare!(x86, Architecture::X86);
        compare!(aarch64, Architecture::Aarch64);
        compare!(arm, Architecture::Arm);
        assert!(compared > 1400, "{compared}");
    }

    #[test]
    fn x32_has_its_own_numbers_where_the_kernel_gives_it_some() {
        let number = |name| Call::named(name).and_then(|c| c.number(Architecture::X32));
        assert_eq!(number("read"), Some(0));
        assert_eq!(number("rt_sigaction"), Some(512));
        assert_eq!(number("execveat"), Some(545));
        assert_eq!(number("pwritev2"), Some(547));
        assert_eq!(number("uselib"), None);
    }

    #[test]
    fn multiplexers() {
        assert_eq!(x86_multiplexer("accept4"), Some(("socketcall", u32::MAX, 18)));
        assert_eq!(x86_multiplexer("shmctl"), Some(("ipc", 0xffff, 24)));
        assert_eq!(x86_multiplexer("read"), None);
    }
}
