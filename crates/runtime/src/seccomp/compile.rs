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
    let rules = named(doc)?;
    let covers = |a: Architecture| a == arch.oci() || doc.architectures.contains(&a);

    let mut tables = Vec::with_capacity(2);
    match arch {
        Arch::X86_64 => {
            let mut x86_64 = decisions(doc, &rules, Architecture::X86_64, default);
            if covers(Architecture::X32) {
                let x32 = decisions(doc, &rules, Architecture::X32, default);
                x86_64.extend(x32.into_iter().map(|(number, decision)| (number | X32_BIT, decision)));
            } else {
                // What a kernel without x32 answers. A permissive default must not open this side door.
                x86_64.push((X32_BIT, Decision::always(ERRNO | ENOSYS)));
                if is_permissive(doc.default_action) {
                    // -1 is how a tracer skips a call.
                    x86_64.push((u32::MAX, Decision::always(default)));
                }
            }
            tables.push(Table { audit_arch: AUDIT_X86_64, intervals: x86_64 });
            if covers(Architecture::X86) {
                let x86 = decisions(doc, &rules, Architecture::X86, default);
                tables.push(Table { audit_arch: AUDIT_I386, intervals: x86 });
            }
        }
        Arch::Aarch64 => {
            let aarch64 = decisions(doc, &rules, Architecture::Aarch64, default);
            tables.push(Table { audit_arch: AUDIT_AARCH64, intervals: aarch64 });
            if covers(Architecture::Arm) {
                let arm = decisions(doc, &rules, Architecture::Arm, default);
                tables.push(Table { audit_arch: AUDIT_ARM, intervals: arm });
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

/// One name of one rule, found in the table.
struct Named<'a> {
    rule: &'a Rule,
    value: u32,
    name: &'a str,
    call: Option<Call>,
}

/// Checks the rules, and looks every name up once for all architectures.
fn named(doc: &Seccomp) -> Result<Vec<Named<'_>>> {
    let mut all = Vec::with_capacity(512);
    for rule in &doc.syscalls {
        let value = return_value(rule.action, rule.errno_ret, "errnoRet")?;
        if let Some(arg) = rule.args.iter().find(|arg| arg.index > 5) {
            return Err(Error::invalid(format!("seccomp: argument index {} is not between 0 and 5", arg.index)));
        }
        all.extend(rule.names.iter().map(|name| Named { rule, value, name, call: Call::named(name) }));
    }
    Ok(all)
}

/// All that the rules say for one architecture, before it is put in order.
struct Said {
    /// By [`slot`]: the strictest rule without conditions.
    always: Vec<Option<u32>>,
    /// Slot, conditions and value of rules with conditions, as they come.
    cases: Vec<(usize, Vec<Condition>, u32)>,
    /// The newest call that a rule names among the common ones, and among arm's own.
    newest: [Option<usize>; 2],
}

/// The slots of common numbers; those that arm keeps for itself follow.
const COMMON: usize = 600;
const SLOTS: usize = COMMON + 8;

/// Numbers are few and close together, so a call's place is its number.
fn slot(number: u32) -> usize {
    if number < ARM_PRIVATE { number as usize } else { COMMON + (number - ARM_PRIVATE) as usize }
}

fn number(slot: usize) -> u32 {
    if slot < COMMON { slot as u32 } else { ARM_PRIVATE + (slot - COMMON) as u32 }
}

impl Said {
    /// Takes note that a rule names the call, even if its conditions can never hold.
    fn named(&mut self, number: u32) {
        let newest = &mut self.newest[usize::from(number >= ARM_PRIVATE)];
        *newest = (*newest).max(Some(slot(number)));
    }

    fn add(&mut self, number: u32, conditions: Vec<Condition>, value: u32) {
        let slot = slot(number);
        if !conditions.is_empty() {
            self.cases.push((slot, conditions, value));
        } else if self.always[slot].is_none_or(|old| strictness(value) < strictness(old)) {
            self.always[slot] = Some(value);
        }
    }
}

/// The decisions of one architecture as intervals: those named, the default between, ENOSYS above.
fn decisions(doc: &Seccomp, named: &[Named<'_>], architecture: Architecture, default: u32) -> Vec<(u32, Decision)> {
    let mut said = Said { always: vec![None; SLOTS], cases: Vec::new(), newest: [None; 2] };
    for named in named {
        add_rule(&mut said, named, architecture);
    }
    let Said { always, mut cases, newest } = said;
    // By call, then the stricter first; those that say the same keep the document's order.
    cases.sort_by_key(|(slot, _, value)| (*slot, strictness(*value)));
    let mut cases = cases.into_iter().peekable();
    let beyond = match newest[0] {
        Some(_) if !is_permissive(doc.default_action) => ERRNO | ENOSYS,
        _ => default,
    };

    let mut intervals: Vec<(u32, Decision)> = Vec::with_capacity(256);
    let mut add = |number: u32, decision: Decision| {
        if intervals.last().is_none_or(|(_, last)| *last != decision) {
            intervals.push((number, decision));
        }
    };
    for (slot, always) in always.into_iter().enumerate() {
        if slot == COMMON {
            add(COMMON as u32, Decision::always(beyond));
        }
        let mut own = Vec::new();
        while let Some((_, conditions, value)) = cases.next_if(|(s, _, _)| *s == slot) {
            let case = (conditions, value);
            if own.last() != Some(&case) {
                own.push(case);
            }
        }
        let unnamed = if newest[usize::from(slot >= COMMON)] >= Some(slot) { default } else { beyond };
        let fallback = always.unwrap_or(if own.is_empty() { unnamed } else { default });
        // Trailing cases that say what the fallback says would be dead code.
        while own.last().is_some_and(|case| case.1 == fallback) {
            own.pop();
        }
        add(number(slot), Decision { cases: own, fallback });
    }
    add(number(SLOTS), Decision::always(beyond));
    intervals
}

fn add_rule(said: &mut Said, named: &Named<'_>, architecture: Architecture) {
    let Named { rule, value, name, call } = *named;
    if architecture == Architecture::X86
        && (rule.args.is_empty() || strictness(value) < strictness(LOG))
        && let Some((through, mask, number)) = calls::x86_multiplexer(name)
        && let Some(through) = Call::named(through).and_then(|call| call.number(architecture))
    {
        let (value_two, mask) = (u64::from(number), u64::from(mask));
        let which = Condition { index: 0, op: Operator::MaskedEqual, value: mask, value_two, narrow: true };
        said.named(through);
        said.add(through, vec![which], value);
    }
    let Some(call) = call else { return };
    let Some(number) = call.number(architecture) else { return };
    said.named(number);
    if rule.args.is_empty() {
        return said.add(number, Vec::new(), value);
    }
    for conjunction in conjunctions(&rule.args) {
        let mut conditions = Vec::with_capacity(conjunction.len());
        let can_hold = conjunction.iter().all(|arg| match condition(arg, call, architecture) {
            Folded::Test(condition) => {
                conditions.push(condition);
                true
            }
            Folded::Always => true,
            Folded::Never => false,
        });
        if can_hold {
            said.add(number, conditions, value);
        }
    }
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
