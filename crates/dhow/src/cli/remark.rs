//! A remark as Docker's client makes it: an empty line, a sign, and the text; with colours on a terminal.

use super::output;
use std::io::IsTerminal as _;

/// On standard error.
pub fn on_stderr(text: &str) {
    output::err_out(&drawn(text, std::io::stderr().is_terminal()));
}

/// On standard output.
pub fn on_stdout(text: &str) {
    output::text_out(drawn(text, std::io::stdout().is_terminal()));
}

fn drawn(text: &str, colours: bool) -> String {
    let (sign, width) = match colours {
        true => ("\x1b[1m\x1b[106;30mi\x1b[0m\x1b[1m \x1b[96mInfo → \x1b[0m", 9),
        false => (" Info -> ", 9),
    };
    let mut out = format!("\n{sign}");
    for (at, line) in text.split('\n').enumerate() {
        let indent = if at > 0 { " ".repeat(width) } else { String::new() };
        match colours {
            true => out.push_str(&format!("{indent}\x1b[3m{line}\x1b[0m\n")),
            false => out.push_str(&format!("{indent}{line}\n")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::drawn;

    #[test]
    fn lines_stand_below_each_other() {
        assert_eq!(drawn("a\nb", false), "\n Info -> a\n         b\n");
        assert!(drawn("a", true).contains("\x1b[3ma\x1b[0m\n"));
    }
}
