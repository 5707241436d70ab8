//! How far something is, and how fast it goes, in one piece of text. Pure.

use crate::cli::units::human_size;
use dhow_api::ProgressDetail;
use std::time::{Duration, Instant};

/// Width of a full bar between its brackets, without its head.
const BAR: usize = 50;
/// A terminal that is not wider than this gets numbers without a bar, as with Docker.
const NARROW: u16 = 110;

/// `[=====>    ]  12MB/50MB`, or the numbers alone. Rule: `JSONProgress` of moby.
pub fn bar(p: &ProgressDetail, columns: u16) -> String {
    if p.current <= 0 && p.total <= 0 {
        return String::new();
    }
    let counted = !p.units.is_empty();
    let current = match counted {
        true => p.current.to_string(),
        false => format!("{:>8}", human_size(p.current)),
    };
    let units = if counted { format!(" {}", p.units) } else { String::new() };
    if p.total <= 0 {
        return current + &units;
    }
    let numbers = match p.current > p.total {
        _ if p.hide_counts => String::new(),
        // More than announced: the total is not shown, as it is wrong.
        true => format!("{current}{units}"),
        false if counted => format!("{current}/{}{units}", p.total),
        false => format!("{current}/{}", human_size(p.total)),
    };
    if columns <= NARROW {
        return numbers;
    }
    let percent = (p.current as f64 / p.total as f64 * 100.0) as usize;
    let full = (percent / 2).min(BAR);
    format!("[{}>{}] {numbers}", "=".repeat(full), " ".repeat(BAR - full))
}

/// How fast bytes come: over the last seconds, so that it follows what happens and does not jump.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    since: Option<(Instant, i64)>,
    mark: Option<(Instant, i64)>,
}

impl Meter {
    /// Before this nothing can be said.
    const LEAST: Duration = Duration::from_millis(300);
    /// The rate is over one to two of these.
    const WINDOW: Duration = Duration::from_secs(2);

    /// Bytes per second, now that so many have come.
    pub fn rate(&mut self, current: i64, now: Instant) -> Option<i64> {
        let Some((since, before)) = self.since.filter(|(_, before)| current >= *before) else {
            // The first, or it began anew.
            *self = Self { since: Some((now, current)), mark: None };
            return None;
        };
        let spent = now.saturating_duration_since(since);
        match self.mark {
            None if spent >= Self::WINDOW => self.mark = Some((now, current)),
            Some((at, _)) if now.saturating_duration_since(at) >= Self::WINDOW => {
                self.since = self.mark.replace((now, current));
            }
            _ => {}
        }
        (spent >= Self::LEAST).then(|| ((current - before) as f64 / spent.as_secs_f64()) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_dockers() {
        let spaces = |n| " ".repeat(n);
        for (current, total, columns, want) in [
            (0, 0, 200, String::new()),
            (25, 100, 80, "     25B/100B".into()),
            (25, 100, 110, "     25B/100B".into()),
            (1_500_000, 0, 200, "   1.5MB".into()),
            (120, 100, 80, "    120B".into()),
            (0, 100, 200, format!("[>{}]       0B/100B", spaces(50))),
            (51, 100, 111, format!("[{}>{}]      51B/100B", "=".repeat(25), spaces(25))),
            (100, 100, 200, format!("[{}>]     100B/100B", "=".repeat(50))),
        ] {
            let p = ProgressDetail { current, total, ..Default::default() };
            assert_eq!(bar(&p, columns), want, "{current}/{total} in {columns}");
        }
        let p = ProgressDetail { current: 3, total: 4, units: "layers".into(), ..Default::default() };
        assert_eq!(bar(&p, 80), "3/4 layers");
        let p = ProgressDetail { current: 3, total: 4, hide_counts: true, ..Default::default() };
        assert_eq!(bar(&p, 80), "");
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut meter = Meter::default();
        // What was there at the beginning did not come now.
        let seen: Vec<_> = [(0, 500), (100, 600), (1000, 1500), (2000, 2500), (4000, 2500), (6000, 2500), (7000, 2500)]
            .into_iter()
            .map(|(ms, bytes)| meter.rate(bytes, at(ms)))
            .collect();
        assert_eq!(seen, [None, None, Some(1000), Some(1000), Some(500), Some(0), Some(0)]);
        // It begins anew.
        assert_eq!((meter.rate(10, at(7100)), meter.rate(1010, at(8100))), (None, Some(1000)));
    }
}
