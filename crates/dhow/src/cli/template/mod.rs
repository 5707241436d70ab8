//! The part of Go's text/template that `--format` needs, over JSON documents.
//!
//! Actions: fields, variables of `range`, pipelines, `if/else if/else`, `range/else`, `with`, comments,
//! trim markers, and Docker's functions (`json join split upper lower title truncate println printf
//! print len index slice eq ne lt le gt ge and or not pad`). A template outside of it is refused with
//! the place and the name. Rule: Go `text/template`, and Docker's "Format command and log output" page.

mod eval;
mod functions;
mod parse;

use anyhow::Result;
use serde_json::Value;

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self { nodes: parse::parse(text)? })
    }

    /// Writes the template for one document.
    pub fn render(&self, document: &Value) -> Result<String> {
        eval::render(&self.nodes, document)
    }
}

/// `\n` and `\t` written out, as in a shell's single quotes.
pub fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(template: &str) -> String {
        let document = json!({
            "Id": "abc", "State": {"Running": true, "Pid": 12}, "Names": ["/a", "/b"], "Empty": [],
            "Labels": {"b": "2", "a": "1"}, "Null": null, "Size": 1.5, "Ports": {"80/tcp": [{"HostPort": "8080"}]}
        });
        Template::parse(template).and_then(|t| t.render(&document)).unwrap_or_else(|e| format!("ERR {e}"))
    }

    #[test]
    fn what_people_write() {
        for (template, want) in [
            ("{{.Id}}", "abc"),
            ("x{{ .State.Pid }}y", "x12y"),
            ("{{json .State}}", r#"{"Pid":12,"Running":true}"#),
            ("{{.State | json}}", r#"{"Pid":12,"Running":true}"#),
            ("{{range .Names}}[{{.}}]{{end}}", "[/a][/b]"),
            ("{{range $i, $n := .Names}}{{$i}}={{$n}};{{end}}", "0=/a;1=/b;"),
            ("{{range $k, $v := .Labels}}{{$k}}{{$v}}{{end}}", "a1b2"),
            ("{{range .Empty}}x{{else}}none{{end}}", "none"),
            ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
            ("{{if eq .Id \"x\"}}1{{else if ne .State.Pid 3}}2{{else}}3{{end}}", "2"),
            ("{{join .Names \", \"}}", "/a, /b"),
            ("{{index .Labels \"a\"}}{{index .Names 1}}", "1/b"),
            ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{len .Names}}", "2"),
            ("{{upper .Id}}{{title .Id}}{{truncate .Id 2}}", "ABCAbcab"),
            ("{{printf \"%s-%d-%q\" .Id .State.Pid .Id}}", "abc-12-\"abc\""),
            ("{{with .State}}{{.Pid}}{{end}}", "12"),
            ("a {{- .Id -}} b", "aabcb"),
            ("{{/* nothing */}}x", "x"),
            ("{{.Null}}", "<nil>"),
            ("{{.Names}}", "[/a /b]"),
            ("{{.Labels}}", "map[a:1 b:2]"),
            ("{{and .State.Running .Id}}{{or .Null .Id}}{{not .Id}}", "abcabcfalse"),
            ("{{range .Names}}{{$.Id}}{{end}}", "abcabc"),
            ("{{println .Id}}", "abc\n"),
            ("{{.Size}} {{true}} {{\"q\"}}", "1.5 true q"),
            ("{{split \"a:b\" \":\"}}", "[a b]"),
        ] {
            assert_eq!(run(template), want, "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (template, part) in [
            ("{{.Id", "unclosed action"),
            ("{{nofunc .Id}}", "function \"nofunc\" not defined"),
            ("{{range .Names}}", "missing {{end}}"),
            ("{{end}}", "unexpected {{end}}"),
            ("{{.Nope.Deep}}", "Nope"),
            ("{{template \"x\"}}", "template"),
            ("{{\"open}}", "unterminated"),
        ] {
            let said = run(template);
            assert!(said.starts_with("ERR") && said.contains(part), "{template}: {said}");
        }
    }
}
