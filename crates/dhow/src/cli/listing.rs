//! How every list is printed: a table, ids alone, or a `--format` template (`table …`, `json`, or Go's).

use super::template::{Template, unescape};
use super::{output, table};
use anyhow::Result;
use serde_json::Value;

/// Prints rows, each a document of the columns' names, as a table of `columns` (title and field) or by `format`.
pub fn print(format: Option<&str>, columns: &[(&str, &str)], rows: &[Value]) -> Result<()> {
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
        .flat_map(|r| r.keys())
        .map(|k| (k.clone(), k.to_uppercase()))
        .chain(columns.iter().map(|(title, field)| ((*field).to_owned(), (*title).to_owned())))
        .map(|(field, title)| (field, Value::String(title)))
        .collect();
    let split = |text: String| text.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let header = split(template.render(&Value::Object(titles))?);
    let cells = rows.iter().map(|r| template.render(r).map(split)).collect::<Result<Vec<_>>>()?;
    output::text_out(table::render(&header.iter().map(String::as_str).collect::<Vec<_>>(), &cells));
    Ok(())
}

/// `--filter` values as the API's JSON.
pub fn filters(words: &[String]) -> Result<Option<String>> {
    let mut filters = dhow_api::Filters::default();
    for word in words {
        match word.split_once('=') {
            Some((name, value)) => filters.add(name.trim().to_ascii_lowercase(), value.trim()),
            None => anyhow::bail!("invalid argument {word:?} for \"-f, --filter\" flag: want NAME=VALUE"),
        }
    }
    Ok((!filters.is_empty()).then(|| filters.to_text()))
}

/// Seconds from an RFC 3339 time, or from a Unix time, to now.
pub fn age(then: &str) -> i64 {
    let now = jiff::Timestamp::now().as_second();
    then.parse::<jiff::Timestamp>().map_or(0, |t| now - t.as_second())
}
