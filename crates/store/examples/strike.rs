//! Carries out a list of commands on a store, a line of output for each, so that a test can strike it dead between any
//! two system calls: `strike ROOT SCRIPT`.
//!
//! A line of the script: `load ARCHIVE`, `import TAR NAME`, `commit IMAGE UPPER NAME`, `tag SOURCE NAME`, `rmi NAME`,
//! `prune` (images without a name), `empty` (waits until what was removed is deleted), `check`, `list` (`have NAME` for every name there is). A line of output: `done N`, or
//! `failed N: why` after which the next command is carried out all the same.

use dhow_store::{NewDocument, Store, StoreConfig};
use dhow_types::{Error, Result};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, root, script] = args.as_slice() else {
        return Err("usage: strike ROOT SCRIPT".into());
    };
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let script = std::fs::read_to_string(script)?;
    let store = match Store::open(Path::new(root), StoreConfig { keep_blobs: true, ..StoreConfig::default() }) {
        Ok(store) => store,
        Err(e) => {
            say(&mut out, &format!("failed open: {e}\n"));
            return Ok(());
        }
    };
    say(&mut out, "done open\n");
    for (number, line) in script.lines().enumerate() {
        let result = one(&store, &mut out, &line.split(' ').collect::<Vec<_>>());
        match result {
            Ok(()) => say(&mut out, &format!("done {number}\n")),
            Err(e) => say(&mut out, &format!("failed {number}: {e}\n")),
        }
    }
    Ok(())
}

/// One write a line, without a buffer; tried again, because this write, too, may be told to fail once.
fn say(out: &mut File, line: &str) {
    let _ = out.write_all(line.as_bytes()).or_else(|_| out.write_all(line.as_bytes()));
}

/// What an image that is made here is beside its layers: always the same, so that its id is.
fn document(name: &str) -> Result<NewDocument> {
    Ok(NewDocument { reference: Some(name.parse()?), ..NewDocument::default() })
}

fn one(store: &Store, out: &mut File, words: &[&str]) -> Result<()> {
    match words {
        ["load", archive] => store.load(std::fs::File::open(archive)?, &mut |_| {}).map(drop),
        ["import", tar, name] => store.import(File::open(tar)?, document(name)?).map(drop),
        ["commit", image, upper, name] => {
            let parent = store.resolve(image)?;
            let mut document = document(name)?;
            document.config = parent.image.config.clone();
            store.commit(&parent.id, Path::new(upper), document, || ()).map(drop)
        }
        ["tag", source, name] => store.tag(source, &name.parse()?),
        ["rmi", name] => store.remove(name, false, &|_| None).map(drop),
        ["prune"] => {
            for image in store.images()?.iter().filter(|i| i.references.is_empty()) {
                store.remove_unused(&image.id, true, &|_| false)?;
            }
            Ok(())
        }
        ["empty"] => {
            store.wait_for_trash();
            Ok(())
        }
        ["list"] => {
            for image in store.images()? {
                for name in image.references {
                    say(out, &format!("have {}\n", name.familiar()));
                }
            }
            Ok(())
        }
        ["check"] => match store.verify()?.first() {
            None => Ok(()),
            Some(problem) => Err(Error::system(problem.clone())),
        },
        _ => Err(Error::invalid(format!("unknown command {words:?}"))),
    }
}
