//! Patterns for names, by the rules of Go's `path.Match`: `*` and `?` do not cross a slash, `[a-z]` and `[^a-z]` are one
//! character, `\\` takes the next one as it is.

/// One piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Any number of characters.
    Star,
    /// One.
    Any,
    /// This one.
    Char(char),
    /// One of these ranges, or with `true` none of them.
    Class(bool, Vec<(char, char)>),
}

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Piece>);

impl Glob {
    /// `None` if it is malformed.
    pub(crate) fn parse(pattern: &str) -> Option<Self> {
        let mut out = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            out.push(match c {
                '*' => Piece::Star,
                '?' => Piece::Any,
                '\\' => Piece::Char(chars.next()?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
                        let low = class_char(&mut chars)?;
                        let high = if chars.next_if_eq(&'-').is_some() { class_char(&mut chars)? } else { low };
                        ranges.push((low, high));
                    }
                    Piece::Class(negated, ranges)
                }
                c => Piece::Char(c),
            });
        }
        Some(Self(out))
    }

    /// Whether the whole of `text` fits. At most quadratic in time: only the last star is tried again.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut p, mut t, mut retry) = (0, 0, None);
        while let Some(c) = text.get(t) {
            match self.0.get(p) {
                Some(Piece::Star) => {
                    retry = Some((p + 1, t));
                    p += 1;
                }
                Some(piece) if one(piece, *c) => (p, t) = (p + 1, t + 1),
                _ => match retry {
                    Some((after_star, from)) if text[from] != '/' => {
                        retry = Some((after_star, from + 1));
                        (p, t) = (after_star, from + 1);
                    }
                    _ => return false,
                },
            }
        }
        self.0[p..].iter().all(|piece| *piece == Piece::Star)
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

fn one(piece: &Piece, c: char) -> bool {
    match piece {
        Piece::Star => false,
        Piece::Any => c != '/',
        Piece::Char(want) => *want == c,
        Piece::Class(negated, ranges) => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_matches_paths() {
        for (pattern, text, fits) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox", true),
            ("*", "busybox", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a/?", "a/b", true),
            ("a?b", "a/b", false),
            ("*box*:1.?", "busybox:1.3", true),
            ("*box", "busybox:latest", false),
            ("", "x", false),
            ("", "", true),
            ("**", "x", true),
            ("a*b*c", "a-b-b-c", true),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[^a-c]x", "dx", true),
            ("[^a]", "a", false),
            ("[abx-z]*", "yes", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[\\]]", "]", true),
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().fits(text), fits, "{pattern} {text}");
        }
        for bad in ["[", "[a", "[]", "[]a]", "a\\", "[a-]", "[-a]", "[^]"] {
            assert_eq!(Glob::parse(bad), None, "{bad}");
        }
    }
}
