//! What the start of a container pays for: the length of the default filter, and how long its search is.

use super::*;
use crate::seccomp::default_profile;

#[test]
fn the_default_filter_is_short_and_shallow() {
    for caps in [&[][..], &["CAP_SYS_ADMIN"]] {
        let program = compile(&default_profile(caps, Arch::X86_64, NEW_KERNEL), Arch::X86_64).unwrap();
        let length = program.instructions().len();
        assert!(length < 700, "{length} instructions");
        // When a filter is installed the kernel runs it for every number of the native and the 32-bit architecture.
        let mut total = 0;
        for architecture in [Architecture::X86_64, Architecture::X86] {
            for number in 0..470 {
                let (arch, number) = presented(architecture, number);
                let (_, steps) = interpreter::run(program.instructions(), &Data { number, arch, ..Data::default() });
                assert!(steps <= 28, "{steps} steps for {number}");
                total += steps;
            }
        }
        assert!(total < 14_000, "{total} steps in all");
    }
}
