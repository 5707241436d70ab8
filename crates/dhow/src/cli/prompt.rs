//! Questions to the person at the terminal, with or without what is typed being seen.

use super::interrupt::Leave;
use super::{output, terminal};
use anyhow::{Context as _, Result, bail};

/// A longer answer is none.
const MAX_ANSWER: usize = 64 * 1024;

/// Asks; the answer without spaces around it. Empty at the end of input.
pub fn ask(question: &str) -> Result<String> {
    output::text_out(question);
    let _leave = Leave::when_interrupted(None)?;
    line()
}

/// Asks for what nobody is to see.
pub fn ask_secret(question: &str) -> Result<String> {
    let silent = terminal::Silent::enter().context("switch off that the terminal shows what is typed")?;
    let _leave = Leave::when_interrupted(Some(silent.before().clone()))?;
    output::text_out(question);
    let answer = line();
    output::text_out("\n");
    answer
}

/// A line of standard input, and no byte behind it.
fn line() -> Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match rustix::io::read(rustix::stdio::stdin(), &mut byte) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() == MAX_ANSWER => bail!("an answer of more than {MAX_ANSWER} bytes"),
            Ok(_) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error)).context("read standard input"),
        }
    }
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}
