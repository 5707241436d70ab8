//! The program that guards devices on v2: emitted as instructions, run by the kernel at each open and mknod. Pure;
//! loading and attaching are in `dhow_sys::bpf`.
//!
//! Its argument is `struct bpf_cgroup_dev_ctx` (include/uapi/linux/bpf.h): access and type in one word, major,
//! minor. It returns 1 to allow. Exceptions are tried one after another, and the first that matches decides.

use crate::devices::{DeviceSet, Kind};

const TYPE_BLOCK: i32 = 1;
const TYPE_CHAR: i32 = 2;
/// The kernel's access bits; ours are its own order: mknod 1, read 2, write 4.
const KERNEL_ACCESS: [(u8, i32); 3] =
    [(crate::devices::MKNOD, 1), (crate::devices::READ, 2), (crate::devices::WRITE, 4)];

// Opcodes: class | size/operation | source, from include/uapi/linux/bpf_common.h and bpf.h.
const LDX_W: u8 = 0x61;
const ALU32_AND_K: u8 = 0x54;
const ALU32_RSH_K: u8 = 0x74;
const ALU32_MOV_X: u8 = 0xbc;
const ALU64_MOV_K: u8 = 0xb7;
const JMP_JNE_K: u8 = 0x55;
const JMP_JEQ_K: u8 = 0x15;
const EXIT: u8 = 0x95;

// Registers.
const R0: u8 = 0;
const CTX: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// One instruction as the kernel's `struct bpf_insn`, little end first.
fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    let low = u64::from(code) | u64::from(dst | (src << 4)) << 8 | u64::from(off as u16) << 16;
    low | u64::from(imm as u32) << 32
}

/// The program for `set`.
pub(crate) fn emit(set: &DeviceSet) -> Vec<u64> {
    let mut code = vec![
        insn(LDX_W, TYPE, CTX, 0, 0),
        insn(ALU32_MOV_X, ACCESS, TYPE, 0, 0),
        insn(ALU32_AND_K, TYPE, 0, 0, 0xffff),
        insn(ALU32_RSH_K, ACCESS, 0, 0, 16),
        insn(LDX_W, MAJOR, CTX, 4, 0),
        insn(LDX_W, MINOR, CTX, 8, 0),
    ];
    for (target, access) in &set.exceptions {
        let bits: i32 = KERNEL_ACCESS.iter().filter(|(ours, _)| access & ours != 0).map(|(_, k)| k).sum();
        // Conditions under which this exception does not match, each a jump over the rest of its block.
        let mut tests: Vec<(u8, u8, i32)> = Vec::new();
        tests.push((JMP_JNE_K, TYPE, if target.kind == Kind::Char { TYPE_CHAR } else { TYPE_BLOCK }));
        if let Some(major) = target.major {
            tests.push((JMP_JNE_K, MAJOR, major as i32));
        }
        if let Some(minor) = target.minor {
            tests.push((JMP_JNE_K, MINOR, minor as i32));
        }
        let mut block: Vec<u64> = Vec::new();
        let partial = bits != 7;
        let length = tests.len() + if partial { 3 } else { 0 } + 2;
        for (code, register, value) in tests {
            let over = length - block.len() - 1;
            block.push(insn(code, register, 0, over as i16, value));
        }
        if partial {
            block.push(insn(ALU32_MOV_X, SCRATCH, ACCESS, 0, 0));
            // An allowing exception needs all that was asked for; a denying one needs any part of it.
            let (mask, jump) = if set.allow_by_default { (bits, JMP_JEQ_K) } else { (7 & !bits, JMP_JNE_K) };
            block.push(insn(ALU32_AND_K, SCRATCH, 0, 0, mask));
            block.push(insn(jump, SCRATCH, 0, 2, 0));
        }
        block.push(insn(ALU64_MOV_K, R0, 0, 0, i32::from(!set.allow_by_default)));
        block.push(insn(EXIT, 0, 0, 0, 0));
        code.append(&mut block);
    }
    code.push(insn(ALU64_MOV_K, R0, 0, 0, i32::from(set.allow_by_default)));
    code.push(insn(EXIT, 0, 0, 0, 0));
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::DeviceRule;

    /// A machine for the few instructions that are emitted.
    fn run(code: &[u64], kind: i32, access: i32, major: u32, minor: u32) -> bool {
        let ctx = [((access << 16) | kind) as u32, major, minor];
        let mut r = [0u64; 11];
        let mut pc = 0usize;
        loop {
            let i = code[pc];
            let (op, dst, src) = (i as u8, (i >> 8 & 15) as usize, (i >> 12 & 15) as usize);
            let (off, imm) = ((i >> 16) as i16, (i >> 32) as i32);
            // Jumps on immediates compare with the immediate extended by its sign.
            let wide = imm as i64 as u64;
            pc += 1;
            match op {
                LDX_W => r[dst] = u64::from(ctx[off as usize / 4]),
                ALU32_AND_K => r[dst] = u64::from(r[dst] as u32 & imm as u32),
                ALU32_RSH_K => r[dst] = u64::from(r[dst] as u32 >> imm),
                ALU32_MOV_X => r[dst] = u64::from(r[src] as u32),
                ALU64_MOV_K => r[dst] = wide,
                JMP_JNE_K if r[dst] != wide => pc += off as usize,
                JMP_JEQ_K if r[dst] == wide => pc += off as usize,
                JMP_JNE_K | JMP_JEQ_K => {}
                EXIT => return r[0] == 1,
                _ => panic!("unknown instruction {op:#x}"),
            }
        }
    }

    fn r(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
        DeviceRule { allow, kind: Some(kind.into()), major, minor, access: Some(access.into()) }
    }

    const M: i32 = 1;
    const R: i32 = 2;
    const W: i32 = 4;

    #[test]
    fn the_program_decides_as_the_rules_say() {
        let set = DeviceSet::effective(&[
            r(false, "a", None, None, "rwm"),
            r(true, "c", Some(10), Some(229), "r"),
            r(true, "b", Some(8), None, "rw"),
        ])
        .unwrap();
        let code = emit(&set);
        for (kind, access, major, minor, want) in [
            (TYPE_CHAR, R, 10, 229, true),
            (TYPE_CHAR, W, 10, 229, false),
            (TYPE_CHAR, R | W, 10, 229, false),
            (TYPE_BLOCK, R | W, 8, 17, true),
            (TYPE_BLOCK, R | W, 9, 17, false),
            (TYPE_CHAR, R, 8, 17, false),
            (TYPE_CHAR, M, 77, 1, true),
            (TYPE_BLOCK, M, 77, 1, true),
            (TYPE_CHAR, M | R, 77, 1, false),
            (TYPE_CHAR, R | W, 1, 3, true),
            (TYPE_CHAR, R | W, 136, 4000, true),
            (TYPE_CHAR, R, 1, 1, false),
        ] {
            assert_eq!(run(&code, kind, access, major, minor), want, "{kind} {access} {major}:{minor}");
        }
    }

    #[test]
    fn a_denial_needs_only_a_part() {
        let set =
            DeviceSet::effective(&[r(true, "a", None, None, "rwm"), r(false, "b", Some(8), Some(0), "w")]).unwrap();
        let code = emit(&set);
        assert!(run(&code, TYPE_BLOCK, R, 8, 0));
        assert!(!run(&code, TYPE_BLOCK, W, 8, 0));
        assert!(!run(&code, TYPE_BLOCK, R | W, 8, 0));
        assert!(run(&code, TYPE_BLOCK, R | W, 8, 1));
    }
}
