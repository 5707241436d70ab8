//! Man pages: `dhow.1`, and one for each command (man(7)).

use super::{list, meaning, text, written};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::Path;

/// Writes them into `dir`, which is made if need be.
pub fn write(all: &Value, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    for (name, page) in pages(all) {
        let path = dir.join(name);
        std::fs::write(&path, page).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Names of files with their pages, that of the program first.
pub fn pages(all: &Value) -> Vec<(String, String)> {
    let version = text(all, "version");
    let commands = list(all, "commands");
    let mut main = head("dhow", version, "runs programs from images: isolated, limited and fast");
    main.push_str(".SH SYNOPSIS\n.B dhow\n[OPTIONS] COMMAND\n.SH OPTIONS\n.nf\n");
    main.push_str(&escaped(text(all, "options")));
    main.push_str(".fi\n.SH COMMANDS\n");
    for command in commands {
        main.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escaped(name(command)), escaped(text(command, "summary"))));
    }
    let own = commands.iter().map(|command| {
        let file = name(command).replace(' ', "-");
        (format!("dhow-{file}.1"), page(command, version))
    });
    std::iter::once(("dhow.1".to_owned(), main)).chain(own).collect()
}

fn name(command: &Value) -> &str {
    list(command, "names").first().and_then(Value::as_str).unwrap_or_default()
}

fn page(command: &Value, version: &str) -> String {
    let name = name(command);
    let mut out = head(&format!("dhow-{}", name.replace(' ', "-")), version, text(command, "summary"));
    out.push_str(&format!(".SH SYNOPSIS\n.B dhow {}\n{}\n", escaped(name), escaped(text(command, "usage"))));
    let others: Vec<&str> = list(command, "names").iter().skip(1).filter_map(Value::as_str).collect();
    if !others.is_empty() {
        out.push_str(&format!(".PP\nAlso: {}.\n", escaped(&others.join(", "))));
    }
    out.push_str(".SH OPTIONS\n");
    for flag in list(command, "flags") {
        out.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escaped(&written(flag)), escaped(&meaning(flag))));
    }
    if let Some(more) = command["more"].as_str() {
        out.push_str(&format!(".SH NOTES\n{}\n", escaped(more.trim())));
    }
    out.push_str(".SH SEE ALSO\n.BR dhow (1)\n");
    out
}

fn head(name: &str, version: &str, summary: &str) -> String {
    let title = escaped(&name.to_uppercase());
    format!(".TH {title} 1 \"\" \"dhow {version}\"\n.SH NAME\n{} \\- {}\n", escaped(name), escaped(summary))
}

/// Characters that troff would take for its own.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let line = |line: &str| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    };
    let mut out = text.lines().map(line).collect::<Vec<_>>().join("\n");
    if text.ends_with('\n') {
        out.push('\n');
    }
    out
}
