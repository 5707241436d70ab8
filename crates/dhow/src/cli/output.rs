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

/// Text on standard error as it is, in one piece.
pub fn err_out(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// What the system says, as programs of Go say it, which people look up: `no such file or directory`, without a number.
pub fn system_words(text: &str) -> String {
    let Some((before, behind)) = text.split_once(" (os error ") else { return text.to_owned() };
    let Some((_, rest)) = behind.split_once(')').filter(|(n, _)| n.bytes().all(|b| b.is_ascii_digit())) else {
        return text.to_owned();
    };
    let start = before.rfind(": ").map_or(0, |at| at + 2);
    let mut words: String = before[..start].to_owned();
    let mut chars = before[start..].chars();
    words.extend(chars.next().into_iter().flat_map(char::to_lowercase));
    words.push_str(chars.as_str());
    words + &system_words(rest)
}

#[cfg(test)]
mod tests {
    use super::system_words;

    #[test]
    fn errors_of_the_system() {
        for (text, want) in [
            ("open /x: No such file or directory (os error 2)", "open /x: no such file or directory"),
            ("No space left on device (os error 28)", "no space left on device"),
            ("open /x: Permission denied (os error 13); try sudo", "open /x: permission denied; try sudo"),
            ("nothing of it", "nothing of it"),
            ("a (os error x)", "a (os error x)"),
        ] {
            assert_eq!(system_words(text), want);
        }
    }
}
