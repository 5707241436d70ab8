//! How every list is printed: a table, ids alone, or a `--format` template (`table …`, `json`, or Go's).

use super::template::{Template, unescape};
use super::{Exit, output, table};
use anyhow::Result;
use dhow_api::Filters;
use serde_json::Value;

/// Prints rows, each a document of the columns' names, as a table of `columns` (title and field) or by `format`.
/// `others` are fields that have no column of their own, for tables without a row.
pub fn print(format: Option<&str>, columns: &[(&str, &str)], others: &[&str], rows: &[Value]) -> Result<()> {
    let cell = |row: &Value, field: &str| match &row[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let format = match format {
        None | Some("" | "table") => {
            let cells: Vec<Vec<String>> =
                rows.iter().map(|r| columns.iter().map(|(_, field)| cell(r, field)).collect()).collect();
            let header: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
            output::text_out(table::render(&header, &cells));
            return Ok(());
        }
        Some("json") => {
            rows.iter().for_each(|row| output::line(row.to_string()));
            return Ok(());
        }
        Some("raw") => anyhow::bail!("--format raw is not supported: use json, or a template"),
        Some(format) => format,
    };
    let Some(body) = format.strip_prefix("table ") else {
        let template = Template::parse(&unescape(format))?;
        for row in rows {
            output::line(template.render(row)?);
        }
        return Ok(());
    };
    let body = unescape(body);
    let template = Template::parse(&body)?;
    // The header is the template over the titles of its own fields.
    let titles: serde_json::Map<String, Value> = rows
        .first()
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|r| r.keys().map(String::as_str))
        .chain(others.iter().copied())
        .map(|k| (k.to_owned(), title(k)))
        .chain(columns.iter().map(|(title, field)| ((*field).to_owned(), (*title).to_owned())))
        .map(|(field, title)| (field, Value::String(title)))
        .collect();
    let split = |text: String| text.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let header = split(template.render(&Value::Object(titles))?);
    let cells = rows.iter().map(|r| template.render(r).map(split)).collect::<Result<Vec<_>>>()?;
    output::text_out(table::render(&header.iter().map(String::as_str).collect::<Vec<_>>(), &cells));
    Ok(())
}

/// The title of a field that no column has: `SharedSize` is `SHARED SIZE`.
fn title(field: &str) -> String {
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

/// `--filter` values, names and values apart.
pub fn read_filters(words: &[String]) -> Result<Filters> {
    let mut filters = Filters::default();
    for word in words.iter().filter(|w| !w.is_empty()) {
        let Some((name, value)) = word.split_once('=') else {
            output::note(format!(
                "invalid argument {word:?} for \"--filter\" flag: bad format of filter (expected name=value)"
            ));
            return Err(Exit(125).into());
        };
        filters.add(name.trim().to_lowercase(), value.trim());
    }
    Ok(filters)
}

/// `--filter` values as the API's JSON.
pub fn filters(words: &[String]) -> Result<Option<String>> {
    let filters = read_filters(words)?;
    Ok((!filters.is_empty()).then(|| filters.to_text()))
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
        let read = read_filters(&words(&["Label = a=b", "label=c", ""])).unwrap();
        assert_eq!(read.values("label").collect::<Vec<_>>(), ["a=b", "c"]);
        let error = read_filters(&words(&["label"])).unwrap_err();
        assert_eq!(error.downcast_ref::<Exit>(), Some(&Exit(125)));
    }
}
