//! Columns as Docker prints them: padded with spaces, at least three between the columns and ten to each, no padding at
//! the end.

/// The rows as text, one line each, with `header` first.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    render_wide(header, rows, 10)
}

/// The same with another least width of the columns.
pub fn render_wide(header: &[&str], rows: &[Vec<String>], least: usize) -> String {
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count());
        cells.chain([header[i].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(|i| (width(i) + 3).max(least)).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (cell, width) in cells.zip(&widths) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    };
    let mut out = line(&mut header.iter().copied());
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "é".into(), String::new()], vec!["long".into(), "b".into(), "c".into()]];
        assert_eq!(render(&["REPOSITORY", "TAG"], &[]), "REPOSITORY   TAG\n");
        assert_eq!(render(&["ID", "N", "X"], &rows), "ID        N         X\na         é\nlong      b         c\n");
    }
}
