//! What was told of the runs of containers, as a daemon that takes them up finds it: the record of a run and what is told
//! of it are two writes, and the daemon before may have died between them. The file of events says which of the two it
//! came to, as events are numbered.

use super::{Event, Events};
use dhow_types::Result;
use std::collections::HashMap;

/// Events that are read at once.
const BATCH: usize = 256;

/// What was told of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// That it started.
    pub(crate) start: bool,
    /// That it ended.
    pub(crate) die: bool,
}

impl Told {
    /// Of a run that goes on.
    pub(crate) const START: Self = Self { start: true, die: false };
}

impl Events {
    /// What was told of the runs of these containers; with each, the number of the last event before its run. Blocks.
    pub(crate) fn told(&self, before: &HashMap<String, u64>) -> Result<HashMap<String, Told>> {
        let mut told: HashMap<String, Told> = HashMap::with_capacity(before.len());
        if before.is_empty() {
            return Ok(told);
        }
        let (_, _, mut reader) = self.listen();
        let oldest = reader.batch(&|_| true, 1)?.first().map_or(u64::MAX, |event| event.number);
        let (_, _, mut reader) = self.listen();
        let wanted = |event: &Event| is_of_a_run(event, before);
        loop {
            let batch = reader.batch(&wanted, BATCH)?;
            if batch.is_empty() {
                break;
            }
            for event in batch {
                let told = told.entry(event.id).or_default();
                match event.action.as_str() {
                    "start" => told.start = true,
                    _ => told.die = true,
                }
            }
        }
        for (id, number) in before {
            // The file does not go back so far: it was told long ago.
            let forgotten = oldest != u64::MAX && oldest > number + 1;
            let told = told.entry(id.clone()).or_default();
            told.start |= forgotten || told.die;
        }
        Ok(told)
    }
}

fn is_of_a_run(event: &Event, before: &HashMap<String, u64>) -> bool {
    event.kind == "container"
        && matches!(event.action.as_str(), "start" | "die")
        && before.get(&event.id).is_some_and(|number| event.number > *number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn each_run_has_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let events = Events::open(dir.path()).unwrap();
        let tell = |id: &str, action: &str| events.tell("container", action, id, BTreeMap::new());
        tell("over", "start");
        tell("again", "start");
        tell("again", "die");
        let before = events.last();
        tell("again", "kill");
        tell("ended", "start");
        tell("ended", "die");
        tell("runs", "start");
        events.tell("volume", "start", "nothing", BTreeMap::new());
        let ids = ["over", "again", "ended", "runs", "nothing"];
        let told = events.told(&ids.iter().map(|id| ((*id).to_owned(), before)).collect()).unwrap();
        let both = Told { start: true, die: true };
        let none = Told::default();
        for (id, want) in ids.iter().zip([none, none, both, Told::START, none]) {
            assert_eq!(told[*id], want, "{id}");
        }
        // Also another daemon finds that, and one run is not taken for the one before.
        drop(events);
        let events = Events::open(dir.path()).unwrap();
        assert_eq!(events.told(&HashMap::from([("over".into(), 0)])).unwrap()["over"], Told::START);
        assert_eq!(events.told(&HashMap::from([("ended".into(), events.last())])).unwrap()["ended"], none);
    }

    #[test]
    fn what_the_file_has_forgotten_was_told() {
        let dir = tempfile::tempdir().unwrap();
        let events = Events::open(dir.path()).unwrap();
        let before = HashMap::from([("long".to_owned(), events.last())]);
        events.tell("container", "start", "long", BTreeMap::new());
        let filler = BTreeMap::from([("x".to_owned(), "y".repeat(100_000))]);
        for _ in 0..100 {
            events.tell("container", "kill", "other", filler.clone());
        }
        assert_eq!(events.told(&before).unwrap()["long"], Told::START);
    }
}
