//! Compiled filters run in an interpreter, against three judges: a direct reading of the document (random documents),
//! libseccomp (documents that real engines use), and a golden list of what Docker's profile allows. The last tests
//! install filters for real.

mod golden;
mod interpreter;
mod oracle;
mod random;
mod real;
mod refusals;
mod size;

use super::calls::Call;
use super::doc::{Architecture, Seccomp};
use super::numbers::TABLE;
use super::{Arch, KernelVersion, Program, compile};
use interpreter::Data;

const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

const NEW_KERNEL: KernelVersion = KernelVersion { major: 6, minor: 18 };

/// `AUDIT_ARCH_*` and the number as the kernel presents a call.
fn presented(architecture: Architecture, number: u32) -> (u32, u32) {
    match architecture {
        Architecture::X86_64 => (0xc000_003e, number),
        Architecture::X32 => (0xc000_003e, number | 0x4000_0000),
        Architecture::X86 => (0x4000_0003, number),
        Architecture::Aarch64 => (0xc000_00b7, number),
        Architecture::Arm => (0x4000_0028, number),
        other => panic!("{other:?}"),
    }
}

/// What the program answers to a call by name.
fn answer(program: &Program, architecture: Architecture, name: &str, args: &[u64]) -> u32 {
    let number = Call::named(name).and_then(|c| c.number(architecture)).unwrap_or_else(|| panic!("{name}"));
    answer_number(program, architecture, number, args)
}

fn answer_number(program: &Program, architecture: Architecture, number: u32, args: &[u64]) -> u32 {
    let (arch, number) = presented(architecture, number);
    let mut data = Data { number, arch, ..Data::default() };
    data.args[..args.len()].copy_from_slice(args);
    interpreter::run(program.instructions(), &data).0
}

fn parse(json: &str) -> Seccomp {
    serde_json::from_str(json).unwrap()
}

fn compiled(json: &str) -> Program {
    compile(&parse(json), Arch::X86_64).unwrap()
}
