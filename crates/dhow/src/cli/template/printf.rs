//! Go's `printf`, as far as values of documents go: every verb, flag, width and precision, and its way to say that an
//! argument is missing, too many or of the wrong kind.

use super::value::V;

/// No field is padded further.
const MAX_WIDTH: usize = 1 << 16;

/// A text in double quotes, as Go's `%q` prints it.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `print`: a space between two operands neither of which is a text.
pub fn sprint(values: &[V]) -> String {
    let mut out = String::new();
    for (n, value) in values.iter().enumerate() {
        let text = |v: &V| matches!(v, V::Text(_));
        if n > 0 && !text(value) && !text(&values[n - 1]) {
            out.push(' ');
        }
        out.push_str(&value.to_string());
    }
    out
}

#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// `printf`.
pub fn sprintf(format: &str, values: &[V]) -> String {
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    let mut next = 0;
    let mut reordered = false;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '#' | ' ' | '0')) {
            match flag {
                '-' => spec.minus = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                _ => spec.zero = true,
            }
        }
        let mut bad_index = false;
        let mut index = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, next: &mut usize| {
            if chars.next_if_eq(&'[').is_none() {
                return;
            }
            reordered = true;
            let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect();
            match (chars.next_if_eq(&']'), digits.parse::<usize>()) {
                (Some(_), Ok(n)) if n >= 1 && n <= values.len() => *next = n - 1,
                _ => bad_index = true,
            }
        };
        let size =
            |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, next: &mut usize, out: &mut String, what: &str| {
                if chars.next_if_eq(&'*').is_some() {
                    let value = values.get(*next);
                    *next += 1;
                    return match value {
                        Some(V::Int(n)) if n.unsigned_abs() <= MAX_WIDTH as u128 => {
                            Some((usize::try_from(n.unsigned_abs()).unwrap_or(0), *n < 0))
                        }
                        _ => {
                            out.push_str(&format!("%!(BAD{what})"));
                            None
                        }
                    };
                }
                let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect();
                digits.parse::<usize>().ok().map(|n| (n.min(MAX_WIDTH), false))
            };
        index(&mut chars, &mut next);
        if let Some((width, left)) = size(&mut chars, &mut next, &mut out, "WIDTH") {
            spec.width = Some(width);
            spec.minus |= left;
        }
        if chars.next_if_eq(&'.').is_some() {
            index(&mut chars, &mut next);
            spec.precision =
                size(&mut chars, &mut next, &mut out, "PREC").filter(|(_, below)| !below).map(|(n, _)| n).or(Some(0));
        }
        index(&mut chars, &mut next);
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) if bad_index => out.push_str(&format!("%!{verb}(BADINDEX)")),
            Some(verb) => match values.get(next) {
                None => out.push_str(&format!("%!{verb}(MISSING)")),
                Some(value) => {
                    next += 1;
                    out.push_str(&one(verb, value, &spec));
                }
            },
        }
    }
    if !reordered && next < values.len() {
        let extra: Vec<String> = values[next..].iter().map(typed).collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn typed(value: &V) -> String {
    match value {
        V::Missing | V::NilAny | V::Nil => "<nil>".to_owned(),
        other => format!("{}={other}", other.type_name()),
    }
}

/// A value by a verb, padded.
fn one(verb: char, value: &V, spec: &Spec) -> String {
    match (verb, value) {
        ('T', value) => pad(value.type_name(), spec, false),
        ('v', V::Missing | V::NilAny | V::Nil) => pad("<nil>", spec, false),
        (_, V::Missing | V::NilAny | V::Nil) => format!("%!{verb}(<nil>)"),
        // Each of the items, in the brackets of the list.
        (_, V::List(_) | V::NilList) if !(verb == 'v' && spec.sharp) => {
            let items: Vec<String> = value.items().unwrap_or_default().iter().map(|v| one(verb, v, spec)).collect();
            format!("[{}]", items.join(" "))
        }
        (_, V::Map(_) | V::NilMap) if !(verb == 'v' && spec.sharp) => {
            let entries = value.entries().into_iter().flatten();
            let entries: Vec<String> = entries
                .map(|(k, v)| format!("{}:{}", one(verb, &V::Text(k.clone()), spec), one(verb, v, spec)))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
        (_, V::Struct(inner)) => {
            let named = verb == 'v' && spec.plus;
            let fields = inner.fields.iter().map(|(name, v)| match named {
                true => format!("{name}:{}", one(verb, v, spec)),
                false => one(verb, v, spec),
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(" "))
        }
        ('v', V::Text(text)) if spec.sharp => pad(&quoted(text), spec, false),
        ('v', V::List(_) | V::NilList | V::Map(_) | V::NilMap) => {
            let mut json = String::new();
            value.json(&mut json);
            format!("{}{json}", value.type_name())
        }
        ('v' | 's', V::Text(text)) => pad(&cut(text, spec), spec, false),
        ('q', V::Text(text)) => {
            let text = cut(text, spec);
            let raw = spec.sharp && !text.contains('`') && !text.contains(char::is_control);
            pad(&if raw { format!("`{text}`") } else { quoted(&text) }, spec, false)
        }
        ('x' | 'X', V::Text(text)) => {
            let bytes = &text.as_bytes()[..spec.precision.unwrap_or(usize::MAX).min(text.len())];
            let glue = if spec.space { " " } else { "" };
            let all: Vec<String> =
                bytes.iter().map(|b| if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") }).collect();
            let sign = if spec.sharp && !all.is_empty() { if verb == 'x' { "0x" } else { "0X" } } else { "" };
            pad(&format!("{sign}{}", all.join(glue)), spec, false)
        }
        ('v' | 't', V::Bool(b)) => pad(&b.to_string(), spec, false),
        ('v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' | 'c' | 'q' | 'U', V::Int(n)) => integer(verb, *n, spec),
        ('v' | 'g' | 'G' | 'e' | 'E' | 'f' | 'F', V::Float(f)) => real(verb, *f, spec),
        _ => format!("%!{verb}({})", typed(value)),
    }
}

fn cut(text: &str, spec: &Spec) -> String {
    text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect()
}

/// Filled up to its width, by characters.
fn pad(text: &str, spec: &Spec, number: bool) -> String {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    if spec.minus {
        format!("{text}{}", " ".repeat(missing))
    } else if spec.zero && number {
        let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+', ' '])));
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        format!("{}{text}", " ".repeat(missing))
    }
}

fn signed(negative: bool, digits: &str, spec: &Spec) -> String {
    let sign = match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    };
    format!("{sign}{digits}")
}

fn integer(verb: char, n: i128, spec: &Spec) -> String {
    let character = u32::try_from(n).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    let size = n.unsigned_abs();
    let (prefix, digits) = match verb {
        'c' => return pad(&character.to_string(), spec, false),
        'q' => return pad(&format!("{character:?}"), spec, false),
        'U' => return pad(&format!("U+{size:04X}"), spec, false),
        'b' => (if spec.sharp { "0b" } else { "" }, format!("{size:b}")),
        'o' => (if spec.sharp { "0" } else { "" }, format!("{size:o}")),
        'O' => ("0o", format!("{size:o}")),
        'x' => (if spec.sharp { "0x" } else { "" }, format!("{size:x}")),
        'X' => (if spec.sharp { "0X" } else { "" }, format!("{size:X}")),
        _ => ("", size.to_string()),
    };
    let digits = format!("{prefix}{}{digits}", "0".repeat(spec.precision.unwrap_or(0).saturating_sub(digits.len())));
    // A precision takes the zeros' place.
    pad(&signed(n < 0, &digits, spec), spec, spec.precision.is_none())
}

fn real(verb: char, f: f64, spec: &Spec) -> String {
    let size = f.abs();
    let exponent = |text: String| {
        let (mantissa, exponent) = text.split_once('e').map_or((text.as_str(), "0"), |(m, e)| (m, e));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
        format!("{mantissa}e{sign}{digits:0>2}")
    };
    let text = if size.is_finite() {
        match verb {
            'f' | 'F' => format!("{size:.*}", spec.precision.unwrap_or(6)),
            'e' | 'E' => exponent(format!("{size:.*e}", spec.precision.unwrap_or(6))),
            _ => match spec.precision {
                None => super::value::float(size, -4),
                Some(digits) => {
                    let digits = digits.max(1);
                    let text = format!("{size:.*e}", digits - 1);
                    let power: i64 = text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
                    let trim = |text: String| match text.contains('.') {
                        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                        false => text,
                    };
                    match power < -4 || power >= digits as i64 {
                        true => {
                            let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
                            exponent(format!("{}e{power}", trim(mantissa.to_owned())))
                        }
                        false => trim(format!("{size:.*}", usize::try_from(digits as i64 - 1 - power).unwrap_or(0))),
                    }
                }
            },
        }
    } else {
        super::value::float(size, -4).trim_start_matches('+').to_owned()
    };
    let text = if verb.is_uppercase() { text.to_uppercase() } else { text };
    pad(&signed(f.is_sign_negative() && f != 0.0, &text, spec), spec, size.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_go_does() {
        let text = |s: &str| V::Text(s.into());
        let list = V::List(vec![text("a"), text("b")]);
        for (format, values, want) in [
            ("%s-%d-%q", vec![text("a"), V::Int(12), text("b")], "a-12-\"b\""),
            ("%5s|%-5s|%05d", vec![text("a"), text("b"), V::Int(-7)], "    a|b    |-0007"),
            ("%.2s|%.3f|%6.2f", vec![text("abc"), V::Float(1.5), V::Float(2.0)], "ab|1.500|  2.00"),
            ("%x|%X|%#x|%x", vec![V::Int(255), V::Int(255), V::Int(255), text("hi")], "ff|FF|0xff|6869"),
            ("%v|%v|%v|%t", vec![list.clone(), V::Nil, V::Bool(true), V::Bool(false)], "[a b]|<nil>|true|false"),
            ("%q|%T|%T", vec![list.clone(), list, V::Int(1)], "[\"a\" \"b\"]|[]string|int"),
            ("%d", vec![text("a")], "%!d(string=a)"),
            ("%d %d", vec![V::Int(1)], "1 %!d(MISSING)"),
            ("x", vec![V::Int(1), text("b")], "x%!(EXTRA int=1, string=b)"),
            ("%", vec![], "%!(NOVERB)"),
            ("100%%", vec![], "100%"),
            ("%*d|%-*d|", vec![V::Int(4), V::Int(7), V::Int(3), V::Int(7)], "   7|7  |"),
            ("%[2]s %[1]s", vec![text("a"), text("b")], "b a"),
            ("%[3]s", vec![text("a")], "%!s(BADINDEX)"),
            (
                "%e|%g|%.3g|%G",
                vec![V::Float(1234.5), V::Float(1e21), V::Float(1234.5), V::Float(0.000_01)],
                "1.234500e+03|1e+21|1.23e+03|1E-05",
            ),
            ("%+d|% d|%c|%U", vec![V::Int(5), V::Int(5), V::Int(65), V::Int(65)], "+5| 5|A|U+0041"),
            ("%z", vec![V::Int(1)], "%!z(int=1)"),
            ("%s", vec![V::Nil], "%!s(<nil>)"),
            ("%t", vec![V::Int(1)], "%!t(int=1)"),
        ] {
            assert_eq!(sprintf(format, &values), want, "{format}");
        }
    }

    #[test]
    fn print_puts_spaces_between_what_is_no_text() {
        let text = |s: &str| V::Text(s.into());
        assert_eq!(
            sprint(&[V::Int(1), V::Int(2), text("a"), text("b"), V::Bool(true)]),
            "1 2ab true".replace("ab t", "abt")
        );
        assert_eq!(quoted("a\"\\\n\u{1}é"), "\"a\\\"\\\\\\n\\x01é\"");
    }
}
