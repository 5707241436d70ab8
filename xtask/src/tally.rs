//! Counting: what test programs print, and the gates, brought to one line at the end.

/// Results so far.
#[derive(Default)]
pub struct Tally {
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
    /// Failures that were counted by a program before it named them in its summary.
    in_program: usize,
}

impl Tally {
    /// Something with a name and one result, such as a gate.
    pub fn add(&mut self, name: &str, ok: bool) {
        if ok {
            self.passed += 1;
        } else {
            self.failed.push(name.to_owned());
        }
    }

    /// A thing that could not be run here.
    pub fn skip(&mut self, name: &str, why: &str) {
        self.skipped.push(format!("{name}: {why}"));
    }

    /// A line of a test program, as libtest and the end-to-end runner print it. `place` tells programs apart.
    pub fn line(&mut self, place: &str, line: &str) {
        if let Some((name, result)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... ")) {
            let name = format!("{place}{name}");
            match result.split([' ', ',']).next() {
                Some("FAILED") => {
                    self.failed.push(name);
                    self.in_program += 1;
                }
                Some("ignored") => {
                    self.skip(&name, result.trim_start_matches("ignored").trim_start_matches([',', ' ']));
                }
                _ => {}
            }
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let before = counts.split(what).next().unwrap_or_default().trim_end();
                before.rsplit([' ', '.']).next().and_then(|n| n.parse::<usize>().ok()).unwrap_or_default()
            };
            self.passed += count(" passed");
            // A test whose own output tore its line apart is not named, but counted.
            for _ in self.in_program..count(" failed") {
                self.failed.push(format!("{place}(a test whose name was not seen)"));
            }
            self.in_program = 0;
        }
    }

    /// A test program ended with this status: one that died before its summary counts as a failure.
    pub fn ended(&mut self, place: &str, ok: bool, failures_before: usize) {
        if !ok && self.failed.len() == failures_before {
            self.failed.push(format!("{place}(ended without a summary, or was not built)"));
        }
        self.in_program = 0;
    }

    /// How many failures there are.
    pub fn failures(&self) -> usize {
        self.failed.len()
    }

    /// The names of what failed and was skipped, and as the last line the counts.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for name in &self.skipped {
            text += &format!("skipped {name}\n");
        }
        for name in &self.failed {
            text += &format!("FAILED {name}\n");
        }
        text + &format!("{} passed, {} failed", self.passed, self.failed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn after(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.line("a ", line));
        tally
    }

    #[test]
    fn results_of_libtest_and_of_the_end_to_end_runner() {
        let tally = after(&[
            "test one ... ok",
            "test two::three ... FAILED",
            "test four ... ignored, no such controller (3 ms)",
            "test result: FAILED. 12 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        ]);
        assert_eq!(
            tally.report(),
            "skipped a four: no such controller (3 ms)\nFAILED a two::three\n15 passed, 1 failed"
        );
    }

    #[test]
    fn a_failure_is_never_lost() {
        let tally = after(&["test result: FAILED. 0 passed; 2 failed; 0 ignored"]);
        assert_eq!(tally.failures(), 2, "not named, but counted");
        let mut tally = after(&["test one ... ok"]);
        tally.ended("a ", false, 0);
        assert_eq!(tally.failures(), 1, "died before its summary");
        let mut tally = after(&["test one ... FAILED", "test result: FAILED. 0 passed; 1 failed"]);
        tally.ended("a ", false, 0);
        assert_eq!(tally.failures(), 1, "once, not twice");
    }
}
