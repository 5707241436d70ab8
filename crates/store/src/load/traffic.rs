//! What comes in and what it becomes, counted over a whole archive: the bounds on a bomb.

use crate::apply::Limits;
use dhow_types::{Error, ErrorKind, Result};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of one archive; clones count together.
#[derive(Clone, Default)]
pub(crate) struct Traffic {
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    received: AtomicU64,
    unpacked: AtomicU64,
}

impl Traffic {
    /// Counts what is read from `input`, which is the archive as it comes.
    pub(crate) fn received<R: Read>(&self, input: R) -> Received<R> {
        Received { input, traffic: self.clone() }
    }

    /// This many bytes of a layer, uncompressed, are there.
    pub(crate) fn unpacked(&self, n: usize, limits: &Limits) -> Result<()> {
        let n = n as u64;
        let unpacked = self.counts.unpacked.fetch_add(n, Ordering::Relaxed).saturating_add(n);
        verdict(self.counts.received.load(Ordering::Relaxed), unpacked, limits)
    }
}

/// Whether that much may come of that little.
fn verdict(received: u64, unpacked: u64, limits: &Limits) -> Result<()> {
    let over = |text| Err(Error::new(ErrorKind::Exhausted, text));
    if unpacked > limits.archive_bytes {
        return over(format!("the layers of the archive have more than {} bytes", limits.archive_bytes));
    }
    if unpacked > limits.ratio_from && unpacked > received.saturating_mul(limits.ratio) {
        return over(format!(
            "{received} bytes of the archive become more than {unpacked}: the limit is a ratio of {}",
            limits.ratio
        ));
    }
    Ok(())
}

/// An input whose bytes are counted.
pub(crate) struct Received<R> {
    input: R,
    traffic: Traffic,
}

impl<R: Read> Read for Received<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.input.read(buf)?;
        self.traffic.counts.received.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bombs_are_none() {
        let limits = Limits { archive_bytes: 10_000, ratio: 10, ratio_from: 1000, ..Limits::default() };
        for (received, unpacked, want) in [
            (1, 1000, ""),
            (1, 1001, "ratio of 10"),
            (100, 1001, "ratio of 10"),
            (101, 1001, ""),
            (1000, 10_000, ""),
            (100_000, 10_001, "more than 10000 bytes"),
            (u64::MAX, 5000, ""),
        ] {
            let said = verdict(received, unpacked, &limits).err().map(|e| e.text().to_owned()).unwrap_or_default();
            assert!(
                if want.is_empty() { said.is_empty() } else { said.contains(want) },
                "{received} {unpacked}: {said}"
            );
        }
    }
}
