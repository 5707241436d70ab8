//! What commands print: results to standard output, everything else to standard error.
//! This is the one place of the program that writes to either.

use std::io::Write;

/// A line on standard output. A reader that has gone away is no error worth a word (`dhow ps | head`).
pub fn line(text: impl AsRef<str>) {
    text_out(text.as_ref().to_owned() + "\n");
}

/// Text on standard output as it is.
pub fn text_out(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_ref().as_bytes());
    let _ = out.flush();
}

/// A line on standard error.
pub fn note(text: impl AsRef<str>) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all((text.as_ref().to_owned() + "\n").as_bytes());
}
