//! Columns as Docker prints them: padded with spaces, at least three between the columns and ten to each; the last is not
//! padded. A character of East Asia is two columns wide.

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

/// Columns of a terminal that a text takes.
fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(c: char) -> usize {
    match u32::from(c) {
        // Marks that stand on the character before them, and what joins characters.
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f | 0x20d0..=0x20ff => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0x33ff
        | 0x3400..=0x4dbf
        | 0x4e00..=0x9fff
        | 0xa000..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
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
    }
}
