//! How every list is printed: a table, ids alone, or a `--format` template (`table …`, `json`, or Go's).

use super::template::{Template, V, unescape};
use super::{output, table};
use anyhow::{Context as _, Result};
use dhow_api::Filters;

/// Least width of a column.
const LEAST_WIDTH: usize = 10;

/// Prints rows, each a struct of the columns' names, as a table of `columns` (title and field) or by `format`.
/// `others` are fields that have no column of their own, for the titles of tables that ask for them.
pub fn print(format: Option<&str>, columns: &[(&str, &str)], others: &[&str], rows: &[V]) -> Result<()> {
    let mut list = List::new(format, columns, others)?;
    rows.iter().try_for_each(|row| list.add(row))?;
    list.print();
    Ok(())
}

/// A list that is written row by row, and shown when it is whole: a table's columns are as wide as their widest cell.
pub struct List {
    /// None writes each row as JSON.
    template: Option<Template>,
    /// The titles, above a table.
    header: Option<String>,
    out: String,
}

impl List {
    /// An empty one, with the arguments of [`print`].
    pub fn new(format: Option<&str>, columns: &[(&str, &str)], others: &[&str]) -> Result<Self> {
        let (is_table, body) = match format {
            None | Some("" | "table") => {
                let fields: Vec<String> = columns.iter().map(|(_, field)| format!("{{{{.{field}}}}}")).collect();
                (true, fields.join("\t"))
            }
            Some("json") => return Ok(Self { template: None, header: None, out: String::new() }),
            Some(format) => match format.strip_prefix("table") {
                Some(body) => (true, unescape(body.trim_matches(' '))),
                None => (false, unescape(format.trim_matches(' '))),
            },
        };
        let template = Template::parse(&body).context("template parsing error")?;
        let header = is_table.then(|| {
            let named = columns.iter().map(|(title, field)| ((*field).to_owned(), V::Text((*title).to_owned())));
            let rest = others.iter().map(|field| ((*field).to_owned(), V::Text(title(field))));
            template.render_titles(named.chain(rest).collect())
        });
        Ok(Self { template: Some(template), header, out: String::new() })
    }

    /// Adds a row.
    pub fn add(&mut self, row: &V) -> Result<()> {
        match &self.template {
            Some(template) => self.out.push_str(&template.render(row).context("template parsing error")?),
            None => row.json(&mut self.out),
        }
        self.out.push('\n');
        Ok(())
    }

    /// Shows it.
    pub fn print(self) {
        output::text_out(match self.header {
            Some(header) => table::align(&format!("{header}\n{}", self.out), LEAST_WIDTH),
            None => self.out,
        });
    }
}

/// Where a list can be asked for ids alone: whether `format` leaves it at that.
pub fn only_ids(quiet: bool, format: Option<&str>) -> bool {
    quiet && matches!(format, None | Some("" | "table"))
}

/// The title of a field that no column has: `SharedSize` is `SHARED SIZE`.
fn title(field: &str) -> String {
    if field == "VirtualSize" {
        return "SIZE".to_owned();
    }
    let mut title = String::new();
    let mut before = None::<char>;
    for c in field.chars() {
        if c.is_uppercase() && before.is_some_and(char::is_lowercase) {
            title.push(' ');
        }
        title.extend(c.to_uppercase());
        before = Some(c);
    }
    title
}

/// A word of `--filter`, for clap.
pub fn filter(word: &str) -> Result<String, String> {
    match word.is_empty() || word.contains('=') {
        true => Ok(word.to_owned()),
        false => Err("bad format of filter (expected name=value)".to_owned()),
    }
}

/// `--filter` values, names and values apart.
pub fn read_filters(words: &[String]) -> Filters {
    let mut filters = Filters::default();
    for (name, value) in words.iter().filter_map(|w| w.split_once('=')) {
        filters.add(name.trim().to_lowercase(), value.trim());
    }
    filters
}

/// `--filter` values as the API's JSON.
pub fn filters(words: &[String]) -> Option<String> {
    let filters = read_filters(words);
    (!filters.is_empty()).then(|| filters.to_text())
}

/// Seconds from an RFC 3339 time, or from a Unix time, to now.
pub fn age(then: &str) -> i64 {
    let now = jiff::Timestamp::now().as_second();
    then.parse::<jiff::Timestamp>().map_or(0, |t| now - t.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_of_fields() {
        for (field, want) in
            [("ID", "ID"), ("SharedSize", "SHARED SIZE"), ("CreatedAt", "CREATED AT"), ("Size", "SIZE")]
        {
            assert_eq!(title(field), want);
        }
    }

    #[test]
    fn filters_have_a_name_and_a_value() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let read = read_filters(&words(&["Label = a=b", "label=c", ""]));
        assert_eq!(read.values("label").collect::<Vec<_>>(), ["a=b", "c"]);
        assert!(filter("label").is_err() && filter("").is_ok() && filter("a=").is_ok());
    }
}
