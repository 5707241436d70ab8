//! Random documents against a direct reading of them, which knows no BPF.

use super::*;
use crate::seccomp::calls;
use crate::seccomp::doc::{Action, Arg, Operator, Rule};

/// A fixed pseudo-random sequence (splitmix64): failures repeat by their seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

const ACTIONS: &[Action] = &[
    Action::KillThread,
    Action::KillProcess,
    Action::Trap,
    Action::Errno,
    Action::Trace,
    Action::Log,
    Action::Allow,
    Action::Allow,
];
const OPERATORS: &[Operator] = &[
    Operator::NotEqual,
    Operator::Less,
    Operator::LessOrEqual,
    Operator::Equal,
    Operator::GreaterOrEqual,
    Operator::Greater,
    Operator::MaskedEqual,
];
/// Where halves and signs change.
const VALUES: &[u64] = &[
    0,
    1,
    2,
    38,
    39,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0026,
    0x7e02_0000,
    0xffff_ffff_0000_0000,
    0xffff_ffff_ffff_fffe,
    u64::MAX,
];
const NAMES: &[&str] = &[
    "read",
    "write",
    "socket",
    "personality",
    "clone",
    "ioctl",
    "mmap",
    "accept",
    "send",
    "semop",
    "futex",
    "execveat",
    "rt_sigaction",
    "openat2",
    "mseal",
    "time",
    "dup3",
    "no_such_call",
    "socketcall",
    "ipc",
    "set_tls",
];

fn document(random: &mut Random, architectures: &[Architecture]) -> Seccomp {
    let rules = random.below(12);
    let mut doc = Seccomp { default_action: random.pick(ACTIONS), ..Seccomp::default() };
    doc.architectures = architectures.iter().copied().filter(|_| random.below(3) > 0).collect();
    for _ in 0..rules {
        let action = random.pick(ACTIONS);
        let errno_ret = matches!(action, Action::Errno | Action::Trace).then(|| random.below(200) as u32);
        let names = (0..1 + random.below(4)).map(|_| random.pick(NAMES).to_owned()).collect();
        let args = (0..random.below(4))
            .map(|_| Arg {
                index: random.below(6) as u32,
                op: random.pick(OPERATORS),
                value: random.pick(VALUES),
                value_two: if random.below(2) == 0 { 0 } else { random.pick(VALUES) },
            })
            .collect();
        doc.syscalls.push(Rule { names, action, errno_ret, args });
    }
    doc
}

/// The judge: what `doc` says about one call, read rule by rule.
fn expected(doc: &Seccomp, native: Architecture, architecture: Architecture, number: u32, args: &[u64; 6]) -> u32 {
    let value = |action, errno: Option<u32>| match action {
        Action::KillThread => 0,
        Action::KillProcess => KILL_PROCESS,
        Action::Trap => 0x0003_0000,
        Action::Errno => 0x0005_0000 | errno.unwrap_or(1),
        Action::Trace => 0x7ff0_0000 | errno.unwrap_or(1),
        Action::Log => 0x7ffc_0000,
        Action::Allow => ALLOW,
        Action::Notify => unreachable!(),
    };
    if architecture != native && !doc.architectures.contains(&architecture) {
        return if architecture == Architecture::X32 { ENOSYS } else { KILL_PROCESS };
    }
    let number_of = |name: &str| Call::named(name).and_then(|c| c.number(architecture));
    let mut conditional = Vec::new();
    let mut plain = Vec::new();
    // Among the common calls, and among those that arm keeps for itself.
    let mut newest = [None; 2];
    let own = |n: u32| usize::from(n >= 0xf0000);
    for rule in &doc.syscalls {
        let this = value(rule.action, rule.errno_ret);
        for name in &rule.names {
            let through = calls::x86_multiplexer(name).filter(|_| architecture == Architecture::X86);
            if let Some((other, mask, which)) = through
                && (rule.args.is_empty() || !matches!(rule.action, Action::Allow | Action::Log))
            {
                newest[0] = newest[0].max(number_of(other));
                if number_of(other) == Some(number) && args[0] as u32 & mask == which {
                    conditional.push(this);
                }
            }
            let Some(n) = number_of(name) else { continue };
            newest[own(n)] = newest[own(n)].max(Some(n));
            if n != number {
                continue;
            }
            if rule.args.is_empty() {
                plain.push(this);
                continue;
            }
            let holds = |arg: &Arg| holds(arg, Call::named(name).unwrap(), architecture, args[arg.index as usize]);
            let mut indexes: Vec<_> = rule.args.iter().map(|a| a.index).collect();
            indexes.sort_unstable();
            indexes.dedup();
            let any = indexes.len() < rule.args.len();
            if if any { rule.args.iter().any(holds) } else { rule.args.iter().all(holds) } {
                // Whether a condition that always holds counts as one makes a difference; see `always`.
                let always = |arg: &Arg| always(arg, Call::named(name).unwrap(), architecture);
                let is_plain = if any { rule.args.iter().any(always) } else { rule.args.iter().all(always) };
                if is_plain {
                    plain.push(this)
                } else {
                    conditional.push(this)
                }
                if is_plain && any && rule.args.iter().any(|a| !always(a) && holds(a)) {
                    conditional.push(this);
                }
            }
        }
    }
    let strictest = |values: &[u32]| values.iter().copied().min_by_key(|v| (*v & 0xffff_0000) as i32);
    let permissive = matches!(doc.default_action, Action::Allow | Action::Log | Action::Trace);
    strictest(&conditional).or(strictest(&plain)).unwrap_or_else(|| {
        let beyond = newest[0].is_some() && Some(number) > newest[own(number)] && !permissive;
        if beyond { ENOSYS } else { value(doc.default_action, doc.default_errno_ret) }
    })
}

fn is_narrow(call: Call, architecture: Architecture, index: u32) -> bool {
    matches!(architecture, Architecture::X86 | Architecture::Arm) || call.argument_is_32_bits(index)
}

/// A 32-bit argument compared with a number it cannot have.
fn always(arg: &Arg, call: Call, architecture: Architecture) -> bool {
    use Operator::{Less, LessOrEqual, NotEqual};
    let sign_extended = arg.value >> 31 == 0x1_ffff_ffff;
    is_narrow(call, architecture, arg.index)
        && arg.value > 0xffff_ffff
        && (matches!(arg.op, Less | LessOrEqual) || arg.op == NotEqual && !sign_extended)
}

fn holds(arg: &Arg, call: Call, architecture: Architecture, seen: u64) -> bool {
    let (mut value, mut value_two, mut seen) = (arg.value, arg.value_two, seen);
    if arg.op == Operator::MaskedEqual && value_two & !value != 0 {
        return false;
    }
    if is_narrow(call, architecture, arg.index) {
        seen &= 0xffff_ffff;
        match arg.op {
            Operator::Equal | Operator::NotEqual if value >> 31 == 0x1_ffff_ffff => value &= 0xffff_ffff,
            Operator::MaskedEqual if value_two >> 32 == value >> 32 => {
                value &= 0xffff_ffff;
                value_two &= 0xffff_ffff;
            }
            _ => {}
        }
    }
    match arg.op {
        Operator::NotEqual => seen != value,
        Operator::Less => seen < value,
        Operator::LessOrEqual => seen <= value,
        Operator::Equal => seen == value,
        Operator::GreaterOrEqual => seen >= value,
        Operator::Greater => seen > value,
        Operator::MaskedEqual => seen & value == value_two,
    }
}

fn compare(arch: Arch, family: &[Architecture], seeds: u64) {
    for seed in 0..seeds {
        let mut random = Random(seed);
        let doc = document(&mut random, family);
        let program = compile(&doc, arch).unwrap();
        for _ in 0..150 {
            let architecture = random.pick(family);
            let number = match random.below(8) {
                0 => random.below(600) as u32,
                1 => 0xf0000 + random.below(8) as u32,
                _ => match Call::named(random.pick(NAMES)).and_then(|c| c.number(architecture)) {
                    Some(number) => number,
                    None => continue,
                },
            };
            let mut args = [0; 6];
            for arg in &mut args {
                *arg = random.pick(VALUES).wrapping_add(random.below(2));
            }
            if random.below(2) == 0 {
                args[0] = random.below(26);
            }
            let got = answer_number(&program, architecture, number, &args);
            let expected = expected(&doc, arch.oci(), architecture, number, &args);
            assert!(
                got == expected,
                "{got:x} is not {expected:x}, seed {seed}: {architecture:?} {number} {args:x?}\n{doc:#?}"
            );
        }
    }
}

#[test]
fn x86_family() {
    compare(Arch::X86_64, &[Architecture::X86_64, Architecture::X86, Architecture::X32], 3000);
}

#[test]
fn arm_family() {
    compare(Arch::Aarch64, &[Architecture::Aarch64, Architecture::Arm], 1500);
}

#[test]
fn every_number_of_the_table_finds_its_own_rule() {
    for &(name, _) in TABLE {
        let doc = parse(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"],
            "syscalls":[{{"names":["{name}"],"action":"SCMP_ACT_TRAP"}}]}}"#
        ));
        let program = compile(&doc, Arch::X86_64).unwrap();
        for architecture in [Architecture::X86_64, Architecture::X86, Architecture::X32] {
            let Some(number) = Call::named(name).unwrap().number(architecture) else { continue };
            assert_eq!(answer_number(&program, architecture, number, &[]), 0x0003_0000, "{name}");
            assert_ne!(answer_number(&program, architecture, number + 1, &[]), 0x0003_0000, "{name} + 1");
        }
    }
}
