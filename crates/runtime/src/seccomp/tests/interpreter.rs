//! The kernel's BPF machine for seccomp, as far as filters use it: an eye on the generated code that shares nothing
//! with the generator. Like the kernel's checker it refuses what could run away.

use dhow_sys::seccomp::MAX_INSTRUCTIONS;

/// `struct seccomp_data`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Data {
    pub number: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        let mut bytes = [0; 64];
        bytes[..4].copy_from_slice(&self.number.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.arch.to_le_bytes());
        for (i, arg) in self.args.iter().enumerate() {
            bytes[16 + 8 * i..24 + 8 * i].copy_from_slice(&arg.to_le_bytes());
        }
        assert!(offset.is_multiple_of(4) && offset <= 60, "load from {offset}");
        let at = offset as usize;
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }
}

/// The return value, and how many instructions it took.
pub fn run(program: &[u64], data: &Data) -> (u32, usize) {
    assert!(!program.is_empty() && program.len() <= MAX_INSTRUCTIONS);
    let (mut accumulator, mut at) = (0u32, 0usize);
    for steps in 1.. {
        let i = program[at];
        let (code, jump_true, jump_false, k) = (i as u16, (i >> 16) as u8, (i >> 24) as u8, (i >> 32) as u32);
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { jump_true } else { jump_false });
        match code {
            0x20 => accumulator = data.word(k),
            0x05 => at += k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x54 => accumulator &= k,
            0x06 => return (k, steps),
            other => panic!("instruction {other:#x} at {}", at - 1),
        }
    }
    unreachable!("jumps go forward only")
}
