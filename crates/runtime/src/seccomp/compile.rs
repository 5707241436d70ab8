//! From a document to a program: pure, and the same for the same input.
//!
//! Where documents are silent or other compilers differ, this one decides so:
//!
//! - A call that several rules speak about: rules with conditions come before rules without; within each kind the
//!   stricter action wins (the kernel's own order), so no rule is ever silently dropped.
//! - An argument index that occurs twice in a rule: each condition stands for itself, as in runc.
//! - Arguments that the kernel reads as 32 bits are compared as such (see `calls`).
//! - A call newer than the newest one the document knows fails with ENOSYS where the default action would refuse it,
//!   as in runc: programs then fall back instead of giving up.
//! - x86 reaches some calls also through `socketcall` and `ipc`: rules follow them there. The arguments then stand in
//!   memory, out of reach; a rule that allows under conditions is not extended, one that refuses covers all.
//! - Calls for an architecture that the document does not list kill the process.

use super::arch::Arch;
use super::calls::{self, ARM_PRIVATE, Call};
use super::code::{self, Condition, Decision, Table};
use super::doc::{Action, Architecture, Arg, Flag, Operator, Rule, Seccomp};
use super::program::{Listener, Program};
use dhow_sys::seccomp as sys;
use dhow_types::{Error, Result};
use std::collections::BTreeMap;

/// How many names all rules of a document may have together.
pub const MAX_NAMES: usize = 16_384;

/// The largest errno that the kernel passes on (`MAX_ERRNO`).
pub const MAX_ERRNO: u32 = 4095;

/// `SECCOMP_RET_*`.
const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Marks calls of x32 programs (`__X32_SYSCALL_BIT`).
const X32_BIT: u32 = 0x4000_0000;

/// `AUDIT_ARCH_*` of linux/audit.h.
const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_I386: u32 = 0x4000_0003;
const AUDIT_AARCH64: u32 = 0xc000_00b7;
const AUDIT_ARM: u32 = 0x4000_0028;

/// Compiles `doc` for a machine of architecture `arch`, which is always covered, listed or not.
pub fn compile(doc: &Seccomp, arch: Arch) -> Result<Program> {
    let names: usize = doc.syscalls.iter().map(|rule| rule.names.len()).sum();
    if names > MAX_NAMES {
        return Err(Error::invalid(format!(
            "seccomp: the rules name {names} system calls; at most {MAX_NAMES} are accepted"
        )));
    }
    let notifies = check_notify(doc)?;
    let default = return_value(doc.default_action, doc.default_errno_ret, "defaultErrnoRet")?;
    let covers = |a: Architecture| a == arch.oci() || doc.architectures.contains(&a);

    let mut tables = Vec::with_capacity(2);
    match arch {
        Arch::X86_64 => {
            let mut x86_64 = decisions(doc, Architecture::X86_64, default)?;
            if covers(Architecture::X32) {
                let x32 = decisions(doc, Architecture::X32, default)?;
                x86_64.extend(x32.into_iter().map(|(number, decision)| (number | X32_BIT, decision)));
            } else {
                // What a kernel without x32 answers. A permissive default must not open this side door.
                x86_64.push((X32_BIT, Decision::always(ERRNO | ENOSYS)));
                if is_permissive(doc.default_action) {
                    // -1 is how a tracer skips a call.
                    x86_64.push((u32::MAX, Decision::always(default)));
                }
            }
            tables.push(Table { audit_arch: AUDIT_X86_64, intervals: merged(x86_64) });
            if covers(Architecture::X86) {
                let x86 = decisions(doc, Architecture::X86, default)?;
                tables.push(Table { audit_arch: AUDIT_I386, intervals: merged(x86) });
            }
        }
        Arch::Aarch64 => {
            let aarch64 = decisions(doc, Architecture::Aarch64, default)?;
            tables.push(Table { audit_arch: AUDIT_AARCH64, intervals: merged(aarch64) });
            if covers(Architecture::Arm) {
                let arm = decisions(doc, Architecture::Arm, default)?;
                tables.push(Table { audit_arch: AUDIT_ARM, intervals: merged(arm) });
            }
        }
    }

    let instructions = code::generate(&tables, KILL_PROCESS);
    if instructions.len() > sys::MAX_INSTRUCTIONS {
        return Err(Error::invalid(format!(
            "seccomp: the filter needs {} instructions and the kernel takes {}; use fewer rules with conditions",
            instructions.len(),
            sys::MAX_INSTRUCTIONS
        )));
    }
    let listener =
        notifies.then(|| Listener { path: doc.listener_path.clone(), metadata: doc.listener_metadata.clone() });
    Ok(Program::new(instructions, flags(doc, notifies)?, listener))
}

/// Whether a rule notifies; refuses what could never work.
fn check_notify(doc: &Seccomp) -> Result<bool> {
    if doc.default_action == Action::Notify {
        return Err(Error::invalid("seccomp: SCMP_ACT_NOTIFY cannot be the default action; name the calls in a rule"));
    }
    let mut notifies = false;
    for rule in doc.syscalls.iter().filter(|rule| rule.action == Action::Notify) {
        notifies = true;
        // The runtime itself still writes to its parent after the filter is in place.
        if rule.names.iter().any(|name| name == "write") {
            return Err(Error::invalid("seccomp: SCMP_ACT_NOTIFY cannot be used for write: nobody could start"));
        }
    }
    if notifies && doc.listener_path.is_empty() {
        return Err(Error::invalid("seccomp: a rule with SCMP_ACT_NOTIFY needs listenerPath, and none is given"));
    }
    Ok(notifies)
}

/// The flags to install with.
fn flags(doc: &Seccomp, notifies: bool) -> Result<u32> {
    let Some(list) = &doc.flags else { return Ok(sys::FLAG_SPEC_ALLOW) };
    let mut flags = 0;
    for flag in list {
        flags |= match flag {
            Flag::Tsync if notifies => sys::FLAG_TSYNC | sys::FLAG_TSYNC_ESRCH,
            Flag::Tsync => sys::FLAG_TSYNC,
            Flag::Log => sys::FLAG_LOG,
            Flag::SpecAllow => sys::FLAG_SPEC_ALLOW,
            Flag::WaitKillableRecv if notifies => sys::FLAG_WAIT_KILLABLE_RECV,
            Flag::WaitKillableRecv => {
                return Err(Error::invalid(
                    "seccomp: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY",
                ));
            }
        };
    }
    Ok(flags)
}

/// An action with its data. `field` names the origin of `errno` in an error.
fn return_value(action: Action, errno: Option<u32>, field: &str) -> Result<u32> {
    let data = match (action, errno) {
        (Action::Errno | Action::Trace, Some(n)) if n > MAX_ERRNO => {
            return Err(Error::invalid(format!("seccomp: {field} {n} is above the largest errno, {MAX_ERRNO}")));
        }
        (Action::Errno | Action::Trace, n) => n.unwrap_or(EPERM),
        // Zero is what a writer without optional numbers puts for "none".
        (_, None | Some(0)) => 0,
        (_, Some(n)) => {
            return Err(Error::invalid(format!(
                "seccomp: {field} {n} goes only with SCMP_ACT_ERRNO and SCMP_ACT_TRACE"
            )));
        }
    };
    Ok(data
        | match action {
            Action::KillThread => KILL_THREAD,
            Action::KillProcess => KILL_PROCESS,
            Action::Trap => TRAP,
            Action::Errno => ERRNO,
            Action::Notify => NOTIFY,
            Action::Trace => TRACE,
            Action::Log => LOG,
            Action::Allow => ALLOW,
        })
}

/// The kernel's precedence: of two return values the one whose action is smaller as a signed number is stricter.
fn strictness(value: u32) -> i32 {
    (value & 0xffff_0000).cast_signed()
}

/// Whether calls that nobody named may work.
fn is_permissive(default: Action) -> bool {
    matches!(default, Action::Allow | Action::Log | Action::Trace)
}

/// All that is said about one call, before it is put in order.
#[derive(Default)]
struct Said {
    cases: Vec<(Vec<Condition>, u32)>,
    always: Option<u32>,
}

impl Said {
    fn add(&mut self, conditions: Vec<Condition>, value: u32) {
        if !conditions.is_empty() {
            if !self.cases.iter().any(|case| *case == (conditions.clone(), value)) {
                self.cases.push((conditions, value));
            }
        } else if self.always.is_none_or(|old| strictness(value) < strictness(old)) {
            self.always = Some(value);
        }
    }

    fn decision(mut self, default: u32) -> Decision {
        self.cases.sort_by_key(|case| strictness(case.1));
        let fallback = self.always.unwrap_or(default);
        // Trailing cases that say what the fallback says would be dead code.
        while self.cases.last().is_some_and(|case| case.1 == fallback) {
            self.cases.pop();
        }
        Decision { cases: self.cases, fallback }
    }
}

/// The decisions of one architecture as intervals: those named, the default between, ENOSYS above.
fn decisions(doc: &Seccomp, architecture: Architecture, default: u32) -> Result<Vec<(u32, Decision)>> {
    let mut said = BTreeMap::<u32, Said>::new();
    for rule in &doc.syscalls {
        add_rule(&mut said, rule, architecture)?;
    }

    let newest = said.keys().copied().filter(|&n| n < ARM_PRIVATE).max();
    let beyond = match newest {
        Some(_) if !is_permissive(doc.default_action) => Decision::always(ERRNO | ENOSYS),
        _ => Decision::always(default),
    };
    let newest = newest.unwrap_or(0);
    let between = |number| if number <= newest { Decision::always(default) } else { beyond.clone() };

    let mut intervals = Vec::with_capacity(2 * said.len() + 2);
    let mut next = 0;
    for (number, said) in said {
        if number > next {
            intervals.push((next, between(next)));
        }
        intervals.push((number, said.decision(default)));
        next = number + 1;
    }
    intervals.push((next, between(next)));
    Ok(intervals)
}

/// Joins neighbours that decide alike.
fn merged(mut intervals: Vec<(u32, Decision)>) -> Vec<(u32, Decision)> {
    intervals.dedup_by(|later, earlier| later.1 == earlier.1);
    intervals
}

fn add_rule(said: &mut BTreeMap<u32, Said>, rule: &Rule, architecture: Architecture) -> Result<()> {
    let value = return_value(rule.action, rule.errno_ret, "errnoRet")?;
    if let Some(arg) = rule.args.iter().find(|arg| arg.index > 5) {
        return Err(Error::invalid(format!("seccomp: argument index {} is not between 0 and 5", arg.index)));
    }
    for name in &rule.names {
        if architecture == Architecture::X86
            && let Some((through, mask, number)) = calls::x86_multiplexer(name)
            && (rule.args.is_empty() || strictness(value) < strictness(LOG))
            && let Some(through) = Call::named(through).and_then(|call| call.number(architecture))
        {
            let which = Condition {
                index: 0,
                op: Operator::MaskedEqual,
                value: u64::from(mask),
                value_two: u64::from(number),
                narrow: true,
            };
            said.entry(through).or_default().add(vec![which], value);
        }
        let Some(call) = Call::named(name) else { continue };
        let Some(number) = call.number(architecture) else { continue };
        let said = said.entry(number).or_default();
        for conjunction in conjunctions(&rule.args) {
            // Without `None` every condition can hold; those that always hold are left out.
            let conditions: Option<Vec<_>> = conjunction
                .iter()
                .map(|arg| condition(arg, call, architecture))
                .filter(|folded| !matches!(folded, Folded::Always))
                .map(|folded| match folded {
                    Folded::Test(condition) => Some(condition),
                    _ => None,
                })
                .collect();
            if let Some(conditions) = conditions {
                said.add(conditions, value);
            }
        }
    }
    Ok(())
}

/// The alternatives of a rule, see the module's head.
fn conjunctions(args: &[Arg]) -> Vec<&[Arg]> {
    let repeated = args.iter().enumerate().any(|(at, arg)| args[..at].iter().any(|a| a.index == arg.index));
    if repeated { args.chunks(1).collect() } else { vec![args] }
}

/// A condition, or what is known of it without looking at the argument.
enum Folded {
    Test(Condition),
    Always,
    Never,
}

fn condition(arg: &Arg, call: Call, architecture: Architecture) -> Folded {
    let Arg { index, value, value_two, op } = *arg;
    if op == Operator::MaskedEqual && value_two & !value != 0 {
        return Folded::Never;
    }
    let narrow = matches!(architecture, Architecture::X86 | Architecture::Arm) || call.argument_is_32_bits(index);
    if !narrow {
        return Folded::Test(Condition { index, op, value, value_two, narrow });
    }
    let low = |value: u64| value & u64::from(u32::MAX);
    let (mut value, mut value_two) = (value, value_two);
    match op {
        // A negative number may be written with all its 64 bits.
        Operator::Equal | Operator::NotEqual if value == low(value).cast_signed() as i32 as i64 as u64 => {
            value = low(value);
        }
        Operator::Equal if value > low(value) => return Folded::Never,
        Operator::NotEqual | Operator::Less | Operator::LessOrEqual if value > low(value) => return Folded::Always,
        Operator::Greater | Operator::GreaterOrEqual if value > low(value) => return Folded::Never,
        Operator::MaskedEqual => {
            let (mask_high, value_high) = (value >> 32, value_two >> 32);
            if value_high != 0 && value_high != mask_high {
                return Folded::Never;
            }
            value = low(value);
            value_two = low(value_two);
        }
        _ => {}
    }
    Folded::Test(Condition { index, op, value, value_two, narrow })
}
