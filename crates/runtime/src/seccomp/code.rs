//! The code generator: a decision per interval of call numbers becomes BPF with only forward jumps.
//!
//! The shape matters for the time to start a container, not only for the time of a call: when a filter is installed,
//! the kernel runs it once for every call number (to learn which are always allowed), and compiles it. A balanced
//! tree over intervals keeps both short. Nothing here knows a name, an action or a document.

use super::doc::Operator;

/// `BPF_LD | BPF_W | BPF_ABS`.
const LOAD: u16 = 0x20;
/// `BPF_JMP | BPF_JA`.
const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
const JUMP_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`.
const JUMP_GREATER: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`.
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
/// `BPF_ALU | BPF_AND | BPF_K`.
const AND: u16 = 0x54;
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// A comparison of one argument with constants, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// How.
    pub op: Operator,
    /// The constant; for [`Operator::MaskedEqual`] the mask.
    pub value: u64,
    /// For [`Operator::MaskedEqual`] the value after masking.
    pub value_two: u64,
    /// Only the low 32 bits are compared; the constants then fit in 32 bits.
    pub narrow: bool,
}

/// What happens to a call: the first case all of whose conditions hold, else the fallback. Return values are the
/// kernel's `SECCOMP_RET_*` with their data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub cases: Vec<(Vec<Condition>, u32)>,
    pub fallback: u32,
}

impl Decision {
    /// Always `value`.
    pub fn always(value: u32) -> Self {
        Self { cases: Vec::new(), fallback: value }
    }
}

/// Decisions for all numbers of one audit architecture: each holds from its first number up to the next entry.
pub(super) struct Table {
    /// `AUDIT_ARCH_*`.
    pub audit_arch: u32,
    /// Sorted by first number; the first entry begins at 0.
    pub intervals: Vec<(u32, Decision)>,
}

/// The whole program: one tree per architecture, and `other` for calls made for any other architecture.
pub(super) fn generate(tables: &[Table], other: u32) -> Vec<u64> {
    let mut program = vec![instruction(LOAD, 0, 0, ARCHITECTURE)];
    for table in tables {
        let mut body = vec![instruction(LOAD, 0, 0, NUMBER)];
        body.extend(tree(&table.intervals));
        branch(&mut program, JUMP_EQUAL, table.audit_arch, body);
    }
    program.push(ret(other));
    program
}

/// `if accumulator OP k { body }`; the body never falls through.
fn branch(program: &mut Vec<u64>, jump: u16, k: u32, body: Vec<u64>) {
    match u8::try_from(body.len()) {
        Ok(length) => program.push(instruction(jump, 0, length, k)),
        // Conditional jumps reach 255 instructions, the unconditional one any distance.
        Err(_) => {
            program.push(instruction(jump, 1, 0, k));
            program.push(instruction(JUMP, 0, 0, body.len() as u32));
        }
    }
    program.extend(body);
}

/// Binary search over the intervals, with the number in the accumulator.
fn tree(intervals: &[(u32, Decision)]) -> Vec<u64> {
    match intervals {
        [] => Vec::new(),
        [(_, decision)] => leaf(decision),
        _ => {
            let (low, high) = intervals.split_at(intervals.len() / 2);
            let mut program = Vec::new();
            branch(&mut program, JUMP_GREATER_OR_EQUAL, high[0].0, tree(high));
            program.extend(tree(low));
            program
        }
    }
}

/// The cases of a decision, one after the other. The number in the accumulator is lost, and no longer needed.
fn leaf(decision: &Decision) -> Vec<u64> {
    let mut program = Vec::new();
    for (conditions, value) in &decision.cases {
        // The length of a case is bounded by 6 arguments of at most 6 instructions, so jumps always reach.
        let checks: Vec<Vec<Step>> = conditions.iter().map(check).collect();
        let mut left: usize = checks.iter().map(Vec::len).sum();
        for check in checks {
            let mut left_in_check = check.len();
            for step in check {
                left -= 1;
                left_in_check -= 1;
                program.push(step.place(left_in_check as u8, left as u8 + 1));
            }
        }
        program.push(ret(*value));
    }
    program.push(ret(decision.fallback));
    program
}

/// Where a step goes on.
#[derive(Clone, Copy)]
enum To {
    /// The next step.
    Next,
    /// This condition holds: on to the next condition.
    Holds,
    /// It does not: on to the next case.
    Fails,
}

/// An instruction whose jumps are not placed yet.
enum Step {
    Plain(u16, u32),
    Jump(u16, u32, To, To),
}

impl Step {
    /// `holds` and `fails`: how many instructions to skip.
    fn place(self, holds: u8, fails: u8) -> u64 {
        let distance = |to| match to {
            To::Next => 0,
            To::Holds => holds,
            To::Fails => fails,
        };
        match self {
            Step::Plain(code, k) => instruction(code, 0, 0, k),
            Step::Jump(code, k, yes, no) => instruction(code, distance(yes), distance(no), k),
        }
    }
}

/// One condition: the upper half decides, or leaves it to the lower one.
fn check(condition: &Condition) -> Vec<Step> {
    use To::{Fails, Holds, Next};
    let low_offset = ARGUMENTS + 8 * condition.index;
    let half = |value: u64| ((value >> 32) as u32, value as u32);
    let (high, low) = half(condition.value);
    let (high_two, low_two) = half(condition.value_two);

    let mut steps = Vec::with_capacity(6);
    if !condition.narrow {
        let load = Step::Plain(LOAD, low_offset + 4);
        match condition.op {
            Operator::Equal => steps.extend([load, Step::Jump(JUMP_EQUAL, high, Next, Fails)]),
            Operator::NotEqual => steps.extend([load, Step::Jump(JUMP_EQUAL, high, Next, Holds)]),
            Operator::Greater | Operator::GreaterOrEqual => steps.extend([
                load,
                Step::Jump(JUMP_GREATER, high, Holds, Next),
                Step::Jump(JUMP_EQUAL, high, Next, Fails),
            ]),
            Operator::Less | Operator::LessOrEqual => steps.extend([
                load,
                Step::Jump(JUMP_GREATER, high, Fails, Next),
                Step::Jump(JUMP_EQUAL, high, Next, Holds),
            ]),
            // A mask that leaves the upper half out is the common case.
            Operator::MaskedEqual if high == 0 && high_two == 0 => {}
            Operator::MaskedEqual => {
                steps.extend([load, Step::Plain(AND, high), Step::Jump(JUMP_EQUAL, high_two, Next, Fails)]);
            }
        }
    }
    steps.push(Step::Plain(LOAD, low_offset));
    if condition.op == Operator::MaskedEqual {
        steps.push(Step::Plain(AND, low));
    }
    steps.push(match condition.op {
        Operator::Equal => Step::Jump(JUMP_EQUAL, low, Holds, Fails),
        Operator::NotEqual => Step::Jump(JUMP_EQUAL, low, Fails, Holds),
        Operator::Greater => Step::Jump(JUMP_GREATER, low, Holds, Fails),
        Operator::GreaterOrEqual => Step::Jump(JUMP_GREATER_OR_EQUAL, low, Holds, Fails),
        Operator::Less => Step::Jump(JUMP_GREATER_OR_EQUAL, low, Fails, Holds),
        Operator::LessOrEqual => Step::Jump(JUMP_GREATER, low, Fails, Holds),
        Operator::MaskedEqual => Step::Jump(JUMP_EQUAL, low_two, Holds, Fails),
    });
    steps
}

fn ret(value: u32) -> u64 {
    instruction(RETURN, 0, 0, value)
}

/// The kernel's `struct sock_filter` as a number, see `dhow_sys::seccomp`.
fn instruction(code: u16, jump_true: u8, jump_false: u8, k: u32) -> u64 {
    u64::from(code) | u64::from(jump_true) << 16 | u64::from(jump_false) << 24 | u64::from(k) << 32
}
