//! Go's text/template over documents of the API, with Docker's functions: what `--format` is made of.
//!
//! Everything of the language is here, and what goes wrong is said in Go's words. Our own, because no crate of it is kept
//! that gives Go's errors, prints as Go does, or has methods with arguments. Rule: Go's `text/template`, and Docker's
//! "Format command and log output" page.

mod eval;
mod functions;
mod lex;
mod order;
mod parse;
pub mod printf;
mod shape;
mod tree;
mod value;

use anyhow::{Result, anyhow};
use eval::Mode;
pub use value::{Struct, V};

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    source: String,
    tree: parse::Tree,
}

impl Template {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Self> {
        let tree = parse::parse(text).map_err(|said| anyhow!(said))?;
        Ok(Self { source: text.to_owned(), tree })
    }

    /// Writes the template for one document.
    pub fn render(&self, document: &V) -> Result<String> {
        self.fill(document, Mode::default())
    }

    /// The same, and if that fails for the document as plain maps: so Docker shows fields that it does not know. What is
    /// said then names the key that is not there.
    pub fn render_document(&self, document: &V) -> Result<String> {
        self.render(&order::ordered(document))
            .or_else(|_| self.fill(&document.raw(), Mode { missing_is_error: true, ..Mode::default() }))
    }

    /// Writes the titles of a table.
    pub fn render_titles(&self, titles: Vec<(String, V)>) -> String {
        let document = V::Struct(Box::new(Struct { titles: true, fields: titles, ..Struct::default() }));
        self.fill(&document, Mode { titles: true, ..Mode::default() }).unwrap_or_default()
    }

    fn fill(&self, document: &V, mode: Mode) -> Result<String> {
        eval::render(&self.source, &self.tree, document, mode).map_err(|said| anyhow!(said))
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
        Template::parse(template).and_then(|t| t.render(&V::from(&document))).unwrap_or_else(|e| format!("ERR {e}"))
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
    fn the_whole_language() {
        for (template, want) in [
            ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
            ("{{range .Names}}{{if eq . \"/b\"}}{{break}}{{end}}{{.}}{{end}}", "/a"),
            ("{{range .Names}}{{if eq . \"/a\"}}{{continue}}{{end}}{{.}}{{end}}", "/b"),
            ("{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .Id}}", "<abc>"),
            ("{{block \"t\" .Id}}<{{.}}>{{end}}", "<abc>"),
            ("{{with .Null}}x{{else with .Id}}{{.}}{{end}}", "abc"),
            ("{{range 3}}{{.}}{{end}}", "012"),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}},{{else}}none{{end}}", "a=1,b=2,"),
            ("{{.Labels.nope}}|{{index .Labels \"nope\"}}|", "<no value>||"),
            (
                "{{html \"<a & 'b'>\"}}|{{js \"it's\"}}|{{urlquery \"a b&c\"}}",
                "&lt;a &amp; &#39;b&#39;&gt;|it\\'s|a+b%26c",
            ),
            ("{{printf \"%05.1f|%-4s|%x\" .Size .Id 255}}", "001.5|abc |ff"),
            ("{{slice .Id 1}}{{slice .Names 0 1}}", "bc[/a]"),
            ("{{lt 1 2}}{{le \"a\" \"b\"}}{{gt 1.5 1.0}}{{ge 2 2}}{{ne 1 2}}{{eq 1 2 1}}", "truetruetruetruetruetrue"),
            ("{{and 1 0 2}}{{or 0 \"\" \"x\"}}{{and .Null (index .Null 1)}}", "0x<nil>"),
            ("{{pad .Id 1 2}}|{{truncate \"abcdef\" 3}}|{{title \"two words\"}}", " abc  |abc|Two Words"),
            ("{{.State}}", "{12 true}"),
            ("{{print 1 2 \"a\" 3}}", "1 2a3"),
            ("{{'a'}} {{0x10}} {{1e3}} {{-2}}", "97 16 1000 -2"),
            ("{{`raw`}}{{\"\\u00e9\\n\"}}", "rawé\n"),
            ("{{(split .Id \"b\") | len}}", "2"),
            ("{{if not .Empty}}{{else}}x{{end}}y", "y"),
        ] {
            assert_eq!(run(template), want, "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_as_go_says_it() {
        for (template, want) in [
            ("{{.X}", "template: :1: bad character U+007D '}'"),
            ("{{.Id", "template: :1: unclosed action"),
            ("{{nofunc .Id}}", "template: :1: function \"nofunc\" not defined"),
            ("{{range .Names}}", "template: :1: unexpected EOF"),
            ("{{end}}", "template: :1: unexpected {{end}}"),
            ("a\n{{else}}", "template: :2: unexpected {{else}}"),
            ("{{\"open}}", "template: :1: unterminated quoted string"),
            ("{{$x}}", "template: :1: undefined variable \"$x\""),
            ("{{}}", "template: :1: missing value for command"),
            ("{{if}}x{{end}}", "template: :1: missing value for if"),
            ("{{.Id | 1}}", "template: :1: non executable command in pipeline stage 2"),
            ("{{break}}", "template: :1: {{break}} outside {{range}}"),
            ("{{.Id | .}}", "template: :1: non executable command in pipeline stage 2"),
            (
                "{{template \"x\"}}",
                "template: :1:11: executing \"\" at <{{template \"x\"}}>: template \"x\" not defined",
            ),
            ("{{.Nope}}", "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type struct"),
            (
                "ab\n{{ .State.Nope }}",
                "template: :2:9: executing \"\" at <.State.Nope>: can't evaluate field Nope in type struct",
            ),
            (
                "{{index .Names 5}}",
                "template: :1:2: executing \"\" at <index .Names 5>: error calling index: index out of range: 5",
            ),
            (
                "{{upper .Size}}",
                "template: :1:8: executing \"\" at <.Size>: wrong type for value; expected string; got float64",
            ),
            ("{{upper}}", "template: :1:2: executing \"\" at <upper>: wrong number of args for upper: want 1 got 0"),
            ("{{truncate .Id \"x\"}}", "template: :1:15: executing \"\" at <\"x\">: expected integer; found \"x\""),
            (
                "{{eq .Id 1}}",
                "template: :1:2: executing \"\" at <eq .Id 1>: error calling eq: incompatible types for comparison",
            ),
            (
                "{{.Id 1}}",
                "template: :1:2: executing \"\" at <.Id>: Id has arguments but cannot be invoked as function",
            ),
            ("{{range .Id}}{{end}}", "template: :1:8: executing \"\" at <.Id>: range can't iterate over abc"),
        ] {
            assert_eq!(run(template), format!("ERR {want}"), "{template}");
        }
    }

    #[test]
    fn documents_are_tried_as_maps_too() {
        let document: V = serde_json::from_str(r#"{"A":{"B":1},"N":null}"#).unwrap();
        let run =
            |t: &str| Template::parse(t).and_then(|t| t.render_document(&document)).unwrap_or_else(|e| e.to_string());
        assert_eq!(run("{{.A.B}}"), "1");
        assert_eq!(run("{{.A.C}}"), "template: :1:4: executing \"\" at <.A.C>: map has no entry for key \"C\"");
        assert_eq!(run("{{.N.C}}"), "template: :1:4: executing \"\" at <.N.C>: nil pointer evaluating interface {}.C");
    }

    #[test]
    fn titles_are_left_as_they_are() {
        let titles = || vec![("ID".to_owned(), V::Text("CONTAINER ID".into()))];
        let of = |t: &str| Template::parse(t).unwrap().render_titles(titles());
        for (template, want) in [
            ("{{truncate .ID 3}}", "CONTAINER ID"),
            ("{{lower .ID}}|{{pad .ID 1 1}}|{{join .ID \",\"}}", "CONTAINER ID| CONTAINER ID |CONTAINER ID"),
            ("{{.Label \"com.example.some-thing\"}}", "some thing"),
            ("{{.Nope}}", "<no value>"),
        ] {
            assert_eq!(of(template), want, "{template}");
        }
    }
}
