//! Loads an archive into a store and says how long it took: `load ROOT ARCHIVE [--verify]`.
#![allow(clippy::print_stdout)]

use dhow_store::{Store, StoreConfig};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, root, archive, rest @ ..] = args.as_slice() else {
        return Err("usage: load ROOT ARCHIVE [--verify]".into());
    };
    let store = Store::open(Path::new(root), StoreConfig::default())?;
    let begin = Instant::now();
    for loaded in store.load(std::fs::File::open(archive)?, &mut |_| {})? {
        println!("{} {}", loaded.id, loaded.reference.map_or_else(|| "-".to_owned(), |r| r.familiar()));
    }
    println!("loaded in {:.3} s", begin.elapsed().as_secs_f64());
    if rest.iter().any(|a| a == "--verify") {
        let begin = Instant::now();
        println!("{:?}, verified in {:.3} s", store.verify()?, begin.elapsed().as_secs_f64());
    }
    Ok(())
}
