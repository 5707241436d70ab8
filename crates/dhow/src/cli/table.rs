//! Columns as Docker prints them: padded with spaces, at least three between the columns and ten to each; the last is not
//! padded. A character of East Asia is two columns wide, a mark that stands on another has no width.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthChar;

/// The rows as text, one line each, with `header` first.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    render_wide(header, rows, 10)
}

/// The same with another least width of the columns.
pub fn render_wide(header: &[&str], rows: &[Vec<String>], least: usize) -> String {
    let mut text = header.join("\t") + "\n";
    rows.iter().for_each(|row| text.push_str(&(row.join("\t") + "\n")));
    align(&text, least)
}

/// Lines whose cells end in tabs, aligned: a column is as wide as its widest cell in the lines, one below the other, that
/// have it.
pub fn align(text: &str, least: usize) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let has = |line: usize| lines[line].len() > column + 1;
        let mut line = 0;
        while line < lines.len() {
            let end = (line..lines.len()).find(|&l| !has(l)).unwrap_or(lines.len());
            let widest = (line..end).map(|l| width(lines[l][column])).max().unwrap_or(0);
            (line..end).for_each(|l| widths[l][column] = (widest + 3).max(least));
            line = end.max(line + 1);
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (number, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if number > 0 {
            out.push('\n');
        }
        for (cell, want) in cells.iter().zip(widths) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', want.saturating_sub(width(cell))));
        }
    }
    out
}

/// Columns of a terminal that a text takes, as Docker's client counts them: of what is one picture, those of the first
/// character that has any. Rule: `StringWidth` of go-runewidth.
fn width(text: &str) -> usize {
    let first = |picture: &str| picture.chars().filter_map(UnicodeWidthChar::width).find(|w| *w > 0);
    // Most texts have nothing of the kind.
    if text.is_ascii() {
        text.bytes().filter(|b| !b.is_ascii_control()).count()
    } else {
        text.graphemes(true).filter_map(first).sum()
    }
}

/// A text cut to so many columns; the last of them is the ellipsis then. Rule: Docker's `Ellipsis`, which gives marks that
/// stand on other characters a column.
pub fn ellipsis(text: &str, most: usize) -> String {
    let columns = |c: char| if c.width() == Some(2) { 2 } else { 1 };
    if text.chars().map(columns).sum::<usize>() <= most {
        return text.to_owned();
    }
    let mut taken = 0;
    let kept = text.chars().take_while(|c| {
        taken += columns(*c);
        taken < most
    });
    kept.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "é".into(), String::new()], vec!["long".into(), "b".into(), "c".into()]];
        assert_eq!(render(&["REPOSITORY", "TAG"], &[]), "REPOSITORY   TAG\n");
        assert_eq!(
            render(&["ID", "N", "X"], &rows),
            "ID        N         X\na         é         \nlong      b         c\n"
        );
    }

    #[test]
    fn a_column_ends_where_a_line_has_none() {
        assert_eq!(align("a\tb\nno tabs\nlonger than ten\tb\n", 10), "a         b\nno tabs\nlonger than ten   b\n");
        assert_eq!(align("A\tB\n日本語\tx\n", 1), "A        B\n日本語   x\n");
        // One family, which is one picture; a letter with a mark; a flag, to which Docker gives one column.
        assert_eq!(align("A\tB\n👨\u{200d}👩\u{200d}👧\tx\n", 1), "A    B\n👨\u{200d}👩\u{200d}👧   x\n");
        assert_eq!(align("AB\tB\ne\u{301}\tx\n", 1), "AB   B\ne\u{301}    x\n");
        assert_eq!(align("AB\tB\n🇨🇭\tx\n", 1), "AB   B\n🇨🇭    x\n");
    }

    #[test]
    fn texts_are_cut_by_columns() {
        for (text, most, want) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abcde…"),
            ("日本語", 6, "日本語"),
            ("日本語語", 6, "日本…"),
            ("日本語語", 7, "日本語…"),
            ("éé", 1, "…"),
        ] {
            assert_eq!(ellipsis(text, most), want, "{text} {most}");
        }
    }
}
