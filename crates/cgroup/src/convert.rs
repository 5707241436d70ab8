//! Numbers of the OCI document as numbers of v2, which has other scales. Pure; the formulas are those of runc 1.3
//! and crun 1.23, so that a container gets the same share under either.

use dhow_types::{Error, Result};

/// `cpu.shares` (2 to 262144, default 1024) as `cpu.weight` (1 to 10000, default 100).
///
/// Quadratic in the logarithm, so that minimum, default and maximum of both scales meet. 0 means "not given".
pub(crate) fn cpu_weight(shares: u64) -> Option<u64> {
    match shares {
        0 => None,
        1..=2 => Some(1),
        262_144.. => Some(10_000),
        _ => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            // Rounded up, but not for the last bit of a floating point number: 1024 is exactly 100.
            Some(((10f64.powf(exponent) - 1e-9).ceil() as u64).clamp(1, 10_000))
        }
    }
}

/// Block I/O weight (10 to 1000) as `io.weight` (1 to 10000).
pub(crate) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990
}

/// The largest weight is 1000, the least 10; 0 means "not given".
pub(crate) fn check_io_weight(field: &str, weight: u16) -> Result<Option<u16>> {
    match weight {
        0 => Ok(None),
        10..=1000 => Ok(Some(weight)),
        _ => Err(Error::invalid(format!("{field}: {weight} is not in the range from 10 to 1000"))),
    }
}

/// "Memory and swap" together as v2's swap alone; `None` leaves `memory.swap.max` as it is.
pub(crate) fn v2_swap(memory: Option<i64>, swap: Option<i64>) -> Result<Option<i64>> {
    let limit = memory.filter(|m| *m != 0);
    match (limit, swap.filter(|s| *s != 0)) {
        // As on v1: memory without a limit takes the limit of both together with it.
        (Some(-1), None) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (_, Some(-1)) => Ok(Some(-1)),
        (_, Some(s)) if s < -1 => Err(Error::invalid(format!("memory.swap: {s} is not a size"))),
        (None | Some(-1), Some(_)) => {
            Err(Error::invalid("memory.swap: memory and swap together can't be limited without memory.limit"))
        }
        (Some(m), Some(s)) if s < m => Err(Error::invalid(format!(
            "memory.swap: memory and swap together ({s}) must not be less than memory.limit ({m})"
        ))),
        (Some(m), Some(s)) => Ok(Some(s - m)),
    }
}

/// A size or count as the kernel's text on v2; negative is `max`.
pub(crate) fn or_max(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

/// Checks a size: -1 or more.
pub(crate) fn size(field: &str, value: Option<i64>) -> Result<Option<i64>> {
    match value {
        Some(v) if v < -1 => Err(Error::invalid(format!("{field}: {v} is not a size (-1 means no limit)"))),
        Some(0) | None => Ok(None),
        v => Ok(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in [
            (0, None),
            (1, Some(1)),
            (2, Some(1)),
            (512, Some(59)),
            (1024, Some(100)),
            (2048, Some(174)),
            (262_143, Some(10_000)),
            (262_144, Some(10_000)),
            (u64::MAX, Some(10_000)),
        ] {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
    }

    #[test]
    fn weights_never_fall_when_shares_rise() {
        let all: Vec<u64> = (2..262_144).step_by(37).filter_map(cpu_weight).collect();
        assert!(all.windows(2).all(|w| w[0] <= w[1]));
    }

    #[test]
    fn io_weights_meet_at_both_ends() {
        assert_eq!([10, 100, 500, 1000].map(io_weight), [1, 910, 4950, 10_000]);
        assert!(check_io_weight("w", 9).is_err());
        assert!(check_io_weight("w", 1001).is_err());
        assert_eq!(check_io_weight("w", 0).unwrap(), None);
    }

    #[test]
    fn swap_is_what_remains_over_memory() {
        for (memory, swap, want) in [
            (None, None, Ok(None)),
            (Some(100), None, Ok(None)),
            (Some(100), Some(0), Ok(None)),
            (Some(100), Some(300), Ok(Some(200))),
            (Some(100), Some(100), Ok(Some(0))),
            (Some(100), Some(-1), Ok(Some(-1))),
            (Some(-1), None, Ok(Some(-1))),
            (None, Some(-1), Ok(Some(-1))),
            (None, Some(300), Err(())),
            (Some(-1), Some(300), Err(())),
            (Some(100), Some(50), Err(())),
            (Some(100), Some(-2), Err(())),
        ] {
            assert_eq!(v2_swap(memory, swap).map_err(|_| ()), want, "{memory:?} {swap:?}");
        }
    }
}
