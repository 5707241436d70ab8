//! One request for each name that a command was given: one after the other, or side by side.

use super::context::Context;
use super::{Exit, output};
use anyhow::{Result, bail};
use dhow_client::Client;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests under way at one time. More are no faster: they wait for each other in the daemon.
const WIDTH: usize = 8;

/// Runs `each` for every name; prints the names that went well, says the others, and gives Docker's exit code.
pub fn for_each(names: &[String], print: bool, mut each: impl FnMut(&str) -> Result<()>) -> Result<i32> {
    let mut code = 0;
    for name in names {
        match each(name) {
            Ok(()) if print => output::line(name),
            Ok(()) => {}
            // said already
            Err(error) if error.downcast_ref::<Exit>().is_some() => {
                code = error.downcast_ref::<Exit>().map_or(code, |Exit(c)| code.max(*c));
            }
            Err(error) => {
                output::note(format!("{error:#}"));
                code = 1;
            }
        }
    }
    Ok(code)
}

/// The same side by side. What is printed is in the order of the names, each as soon as it is known.
pub fn side_by_side(
    context: &Context,
    names: &[String],
    each: impl Fn(&Client, &str) -> Result<()> + Sync,
) -> Result<i32> {
    if names.len() == 1 {
        let client = context.client();
        return for_each(names, true, |name| each(&client, name));
    }
    let next = AtomicUsize::new(0);
    let (done, results) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..WIDTH.min(names.len()) {
            let (done, next, each) = (done.clone(), &next, &each);
            scope.spawn(move || {
                let client = context.client();
                while let Some((at, name)) = take(next, names) {
                    if done.send((at, each(&client, name))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        // Those that were faster than one before them.
        let mut early = BTreeMap::new();
        let mut at = 0;
        for_each(names, true, |_| {
            let wanted = at;
            at += 1;
            while !early.contains_key(&wanted) {
                let Ok((at, result)) = results.recv() else { break };
                early.insert(at, result);
            }
            early.remove(&wanted).unwrap_or_else(|| bail!("the request was cut short"))
        })
    })
}

fn take<'a>(next: &AtomicUsize, names: &'a [String]) -> Option<(usize, &'a str)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, names.get(at)?.as_str()))
}
