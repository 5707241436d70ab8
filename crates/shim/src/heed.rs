//! Whether the container's first process takes notice of a signal. The rule is [`judge`]; [`look`] reads what it judges
//! by from `/proc`. Nothing here sends a signal, or decides what follows.
//!
//! The kernel drops a signal whose action is the default when it is sent to the first process of a pid namespace, and one
//! that is ignored whoever gets it: nothing will ever come of it, however long one waits. A signal that is blocked stays
//! pending, for `sigwait`, a `signalfd`, or a handler that comes later. While a thread is in `sigwait`, its mask shows what
//! it waits for as not blocked: such a thread is known by its system call.
//!
//! Looked at is what there is before the signal is sent and after: a handler that came too late is taken for one that was
//! there, and a thread that is between two waits is seen in one of them.

use crate::protocol::Unheeded;
use rustix::process::Signal;
use std::fs::File;
use std::io::Read;

/// Threads whose signal masks are read; with more, the signal counts as one that may be heeded.
const MAX_THREADS: usize = 4096;
/// `rt_sigtimedwait` on x86-64, on aarch64, and of 32-bit programs.
const SIGWAIT: [&str; 4] = ["128", "137", "177", "421"];
/// A `status` file is about 1.5 KiB long.
const MAX_STATUS: usize = 8 << 10;

/// What `/proc/PID/status` says about signals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signals {
    name: String,
    /// It has ended, so that the rest says nothing.
    ended: bool,
    /// The first process of its own pid namespace.
    first: bool,
    traced: bool,
    /// Sent to it and not taken yet.
    pending: u64,
    blocked: u64,
    ignored: u64,
    caught: u64,
}

impl Signals {
    /// Reads the file's text; `None` if a line is missing that the rule needs.
    fn parse(text: &str) -> Option<Self> {
        let field = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
        let mask = |key: &str| u64::from_str_radix(field(key)?, 16).ok();
        Some(Self {
            name: field("Name")?.to_owned(),
            ended: field("State")?.starts_with(['Z', 'X', 'x']),
            first: field("NSpid").is_some_and(|pids| pids.split_whitespace().nth(1).is_some() && pids.ends_with("\t1")),
            traced: field("TracerPid")? != "0",
            pending: mask("ShdPnd")?,
            blocked: mask("SigBlk")?,
            ignored: mask("SigIgn")?,
            caught: mask("SigCgt")?,
        })
    }
}

/// The signals that a thread waits for: those it blocks, and in `sigwait` any. `syscall` is the text of its file of that
/// name; without one anything may be.
fn awaited(thread: &Signals, syscall: Option<&str>) -> u64 {
    let number = syscall.map(|text| text.split_whitespace().next().unwrap_or_default());
    match number {
        Some(number) if !SIGWAIT.contains(&number) => thread.blocked,
        _ => u64::MAX,
    }
}

/// How the process is deaf to the signal; `None` if it hears it, or may. `masks` is what its threads wait for.
fn judge(process: &Signals, masks: impl IntoIterator<Item = u64>, signo: i32) -> Option<Unheeded> {
    let forced = [Signal::KILL, Signal::STOP, Signal::CONT].iter().any(|s| s.as_raw() == signo);
    if forced || process.ended || process.traced || !(1..=64).contains(&signo) {
        return None;
    }
    let has = |mask: u64| mask & (1 << (signo - 1)) != 0;
    if has(process.caught) || has(process.blocked) || has(process.pending) || !(has(process.ignored) || process.first) {
        return None;
    }
    if masks.into_iter().any(has) {
        return None;
    }
    Some(Unheeded { program: process.name.clone(), ignored: has(process.ignored) })
}

/// Looks at the process `pid`, which must be a child of this one, so that its number can't mean another.
pub fn look(pid: i32, signo: i32) -> Option<Unheeded> {
    let mut text = String::new();
    let process = read(&format!("/proc/{pid}/status"), &mut text)?;
    // Most processes have one thread, and most signals are heeded.
    judge(&process, [], signo)?;
    let mut masks = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        if masks.len() == MAX_THREADS {
            return None;
        }
        let thread = thread.ok()?.file_name().to_string_lossy().into_owned();
        // One that ended meanwhile waits for nothing.
        let path = format!("/proc/{pid}/task/{thread}/status");
        let Some(signals) = read(&path, &mut text) else { continue };
        let syscall = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall"));
        masks.push(awaited(&signals, syscall.as_deref().ok()));
    }
    // Once more, as it may have changed between the two.
    let process = read(&format!("/proc/{pid}/status"), &mut text)?;
    judge(&process, masks, signo)
}

fn read(path: &str, text: &mut String) -> Option<Signals> {
    text.clear();
    File::open(path).ok()?.take(MAX_STATUS as u64).read_to_string(text).ok()?;
    Signals::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: i32 = 15;
    const BIT: u64 = 1 << 14;

    fn shell() -> Signals {
        Signals { name: "sh".into(), first: true, ..Signals::default() }
    }

    #[test]
    fn the_file_is_read_by_the_names_of_its_lines() {
        let text = "Name:\tmy sh\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t77\nTracerPid:\t0\nNSpid:\t77\t1\n\
                    SigQ:\t0/1\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000004\nSigBlk:\t0000000000010000\n\
                    SigIgn:\t0000000000004004\nSigCgt:\t0000000000000002\n";
        let want = Signals {
            name: "my sh".into(),
            first: true,
            pending: 4,
            blocked: 0x10000,
            ignored: 0x4004,
            caught: 2,
            ..Signals::default()
        };
        assert_eq!(Signals::parse(text), Some(want));
        for (from, to, first) in
            [("77\t1\n", "77\t11\n", false), ("77\t1\n", "1\n", false), ("77\t1", "77\t5\t1", true)]
        {
            assert_eq!(Signals::parse(&text.replace(from, to)).unwrap().first, first, "{to:?}");
        }
        assert!(Signals::parse(&text.replace("S (sleeping)", "Z (zombie)")).unwrap().ended);
        assert!(Signals::parse(&text.replace("TracerPid:\t0", "TracerPid:\t9")).unwrap().traced);
        assert_eq!(Signals::parse(&text.replace("SigCgt", "SigXyz")), None);
    }

    #[test]
    fn who_hears_a_signal() {
        let deaf = |ignored| Some(Unheeded { program: "sh".into(), ignored });
        let child = Signals { first: false, ..shell() };
        for (what, process, masks, signo, want) in [
            ("no handler", shell(), vec![0], TERM, deaf(false)),
            ("a handler", Signals { caught: BIT, ..shell() }, vec![0], TERM, None),
            ("a handler of another", Signals { caught: 1, ..shell() }, vec![0], TERM, deaf(false)),
            ("blocked by all", Signals { blocked: BIT, ..shell() }, vec![BIT], TERM, None),
            ("a thread that waits for it", shell(), vec![0, 0, BIT], TERM, None),
            ("threads that wait for others", shell(), vec![0, 1, 2], TERM, deaf(false)),
            ("ignored", Signals { ignored: BIT, ..shell() }, vec![0], TERM, deaf(true)),
            ("ignored and waited for", Signals { ignored: BIT, ..shell() }, vec![BIT], TERM, None),
            ("not the first: the kernel ends it", child.clone(), vec![0], TERM, None),
            ("not the first, ignored", Signals { ignored: BIT, ..child }, vec![0], TERM, deaf(true)),
            ("sent and not taken yet", Signals { pending: BIT, ..shell() }, vec![0], TERM, None),
            ("in sigwait", shell(), vec![u64::MAX], TERM, None),
            ("traced", Signals { traced: true, ..shell() }, vec![0], TERM, None),
            ("ended", Signals { ended: true, ..shell() }, vec![0], TERM, None),
            ("SIGKILL", shell(), vec![0], 9, None),
            ("SIGSTOP", shell(), vec![0], 19, None),
            ("SIGCONT wakes also who ignores it", shell(), vec![0], 18, None),
            ("the last signal", shell(), vec![0], 64, deaf(false)),
            ("no signal", shell(), vec![0], 65, None),
        ] {
            assert_eq!(judge(&process, masks, signo), want, "{what}");
        }
    }

    #[test]
    fn what_a_thread_waits_for() {
        let thread = Signals { blocked: BIT, ..shell() };
        for (syscall, want) in [
            (Some("128 0x7ffd 0x0 0x0 0x8 0x0 0x0 0x7f 0x7f\n"), u64::MAX),
            (Some("61 0xffffffff 0x7f\n"), BIT),
            (Some("running\n"), BIT),
            (Some(""), BIT),
            (None, u64::MAX),
        ] {
            assert_eq!(awaited(&thread, syscall), want, "{syscall:?}");
        }
    }

    #[test]
    fn a_process_that_is_gone_is_not_deaf() {
        assert_eq!(look(i32::MAX, TERM), None);
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(look(me, TERM), None, "this process is not the first of a namespace of its own");
    }
}
