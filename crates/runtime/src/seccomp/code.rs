//! The code generator: a decision per interval of call numbers becomes BPF with only forward jumps.
//!
//! The shape matters for the time to start a container, not only for the time of a call: when a filter is installed,
//! the kernel runs it once for every call number (to learn which are always allowed), and compiles it. A balanced
//! tree over intervals, whose leaves are shared, keeps both short. Nothing here knows a name, an action or a document.

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
    /// Sorted by first number; not empty, and the first entry begins at 0.
    pub intervals: Vec<(u32, Decision)>,
}

/// The whole program: one tree per architecture, and `other` for calls made for any other architecture.
pub(super) fn generate(tables: &[Table], other: u32) -> Vec<u64> {
    let mut program = Backwards::default();
    let mut next = program.ret(other);
    for table in tables.iter().rev() {
        let root = program.tree(&table.intervals);
        let root = program.push(instruction(LOAD, 0, 0, NUMBER), root);
        next = program.branch(JUMP_EQUAL, table.audit_arch, root, next);
    }
    program.push(instruction(LOAD, 0, 0, ARCHITECTURE), next);
    program.instructions.reverse();
    program.instructions
}

/// How far a conditional jump reaches.
const REACH: usize = u8::MAX as usize;

/// A place in a program that grows from its end: how many instructions follow, and include, the one meant.
type Place = usize;

/// A program under construction, last instruction first: since jumps only go forward, every target exists already
/// when a jump to it is written, and returns can be shared by all jumps that reach them.
#[derive(Default)]
struct Backwards {
    instructions: Vec<u64>,
    /// The newest return of each value.
    returns: Vec<(u32, Place)>,
}

impl Backwards {
    /// How many instructions a jump written now would skip to come to `place`.
    fn distance(&self, place: Place) -> usize {
        self.instructions.len() - place
    }

    /// Puts an instruction that falls through to `next`.
    fn push(&mut self, instruction: u64, next: Place) -> Place {
        if self.distance(next) != 0 {
            self.put(self::instruction(JUMP, 0, 0, self.distance(next) as u32));
        }
        self.put(instruction)
    }

    fn put(&mut self, instruction: u64) -> Place {
        self.instructions.push(instruction);
        self.instructions.len()
    }

    /// A return of `value`: one that a conditional jump from here reaches, or a new one.
    fn ret(&mut self, value: u32) -> Place {
        let known = self.returns.iter().position(|(v, _)| *v == value);
        if let Some(at) = known
            && self.distance(self.returns[at].1) <= REACH
        {
            return self.returns[at].1;
        }
        let place = self.put(instruction(RETURN, 0, 0, value));
        match known {
            Some(at) => self.returns[at].1 = place,
            None => self.returns.push((value, place)),
        }
        place
    }

    /// A place that a conditional jump from here reaches, and leads to `target`.
    fn near(&mut self, target: Place) -> Place {
        if self.distance(target) <= REACH {
            return target;
        }
        let there = self.instructions[target - 1];
        if there as u16 == RETURN {
            return self.ret((there >> 32) as u32);
        }
        self.put(instruction(JUMP, 0, 0, self.distance(target) as u32))
    }

    /// `if accumulator OP k { goto yes } else { goto no }`.
    fn branch(&mut self, jump: u16, k: u32, yes: Place, no: Place) -> Place {
        // What `near` adds for one target can push the other out of reach, once at most.
        let (mut yes, mut no) = (self.near(yes), self.near(no));
        (yes, no) = (self.near(yes), self.near(no));
        self.put(instruction(jump, self.distance(yes) as u8, self.distance(no) as u8, k))
    }

    /// Binary search over the intervals, with the number in the accumulator.
    fn tree(&mut self, intervals: &[(u32, Decision)]) -> Place {
        if let [(_, decision)] = intervals {
            return self.leaf(decision);
        }
        let (low, high) = intervals.split_at(intervals.len() / 2);
        let split = high[0].0;
        let high = self.tree(high);
        let low = self.tree(low);
        self.branch(JUMP_GREATER_OR_EQUAL, split, high, low)
    }

    /// The cases of a decision, one after the other. The number in the accumulator is lost, and no longer needed.
    fn leaf(&mut self, decision: &Decision) -> Place {
        let mut fails = self.ret(decision.fallback);
        for (conditions, value) in decision.cases.iter().rev() {
            let mut holds = self.ret(*value);
            let next_case = fails;
            for condition in conditions.iter().rev() {
                holds = self.check(condition, holds, next_case);
            }
            fails = holds;
        }
        fails
    }

    /// One condition: the upper half decides, or leaves it to the lower one. `holds` and `fails`: where to go.
    fn check(&mut self, condition: &Condition, holds: Place, fails: Place) -> Place {
        let Condition { index, op, value, value_two, narrow } = *condition;
        let low_offset = ARGUMENTS + 8 * index;
        let half = |value: u64| ((value >> 32) as u32, value as u32);
        let (high, low) = half(value);
        let (high_two, low_two) = half(value_two);

        let decide = match op {
            Operator::Equal => self.branch(JUMP_EQUAL, low, holds, fails),
            Operator::NotEqual => self.branch(JUMP_EQUAL, low, fails, holds),
            Operator::Greater => self.branch(JUMP_GREATER, low, holds, fails),
            Operator::GreaterOrEqual => self.branch(JUMP_GREATER_OR_EQUAL, low, holds, fails),
            Operator::Less => self.branch(JUMP_GREATER_OR_EQUAL, low, fails, holds),
            Operator::LessOrEqual => self.branch(JUMP_GREATER, low, fails, holds),
            Operator::MaskedEqual => {
                let compare = self.branch(JUMP_EQUAL, low_two, holds, fails);
                self.push(instruction(AND, 0, 0, low), compare)
            }
        };
        let lower = self.push(instruction(LOAD, 0, 0, low_offset), decide);
        if narrow {
            return lower;
        }
        let decide = match op {
            // A mask that leaves the upper half out is the common case.
            Operator::MaskedEqual if high == 0 => return lower,
            Operator::MaskedEqual => {
                let compare = self.branch(JUMP_EQUAL, high_two, lower, fails);
                self.push(instruction(AND, 0, 0, high), compare)
            }
            Operator::Equal => self.branch(JUMP_EQUAL, high, lower, fails),
            Operator::NotEqual => self.branch(JUMP_EQUAL, high, lower, holds),
            Operator::Greater | Operator::GreaterOrEqual => {
                let equal = self.branch(JUMP_EQUAL, high, lower, fails);
                self.branch(JUMP_GREATER, high, holds, equal)
            }
            Operator::Less | Operator::LessOrEqual => {
                let equal = self.branch(JUMP_EQUAL, high, lower, holds);
                self.branch(JUMP_GREATER, high, fails, equal)
            }
        };
        self.push(instruction(LOAD, 0, 0, low_offset + 4), decide)
    }
}

/// The kernel's `struct sock_filter` as a number, see `dhow_sys::seccomp`.
fn instruction(code: u16, jump_true: u8, jump_false: u8, k: u32) -> u64 {
    u64::from(code) | u64::from(jump_true) << 16 | u64::from(jump_false) << 24 | u64::from(k) << 32
}
