//! Go templates for `--format`, as docker's command line has them: fields, pipelines, variables,
//! if, with and range. Templates do not define templates.

mod evaluate;
mod functions;
mod lex;
mod parse;

use error::{Error, Result};
use evaluate::Evaluation;
use parse::{Node, Operand, Pipeline};
use serde_json::Value as Json;

/// A parsed template.
pub(crate) struct Template {
    nodes: Vec<Node>,
    is_table: bool,
}

impl Template {
    /// Parses a template; `table …` has a header and columns separated by `\t`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let table = text.strip_prefix("table ");
        let nodes = parse::parse(table.unwrap_or(text))?;
        if nodes.iter().all(|node| matches!(node, Node::Text(_))) {
            return Err(unknown_format(text));
        }
        Ok(Self { nodes, is_table: table.is_some() })
    }

    /// The titles of a `table …` template's columns, separated by tabs.
    pub(crate) fn header(&self) -> Option<String> {
        self.is_table.then(|| self.nodes.iter().map(node_title).collect())
    }

    /// The text for `row`, a JSON object that may have `fields`.
    pub(crate) fn render(&self, row: &Json, fields: &[String]) -> Result<String> {
        Evaluation::new(row, fields).finish(&self.nodes)
    }
}

fn unknown_format(text: &str) -> Error {
    let text: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    Error::invalid_argument(format!(
        "\"{text}\" is no format; give table, json, jsonp or a Go template such as '{{{{.Name}}}}'"
    ))
}

fn node_title(node: &Node) -> String {
    match node {
        Node::Text(text) => text.clone(),
        Node::Action(pipeline) if pipeline.variables.is_empty() => pipeline_title(pipeline),
        Node::Action(_) => String::new(),
        Node::With(pipeline, ..) | Node::Range(pipeline, ..) => pipeline_title(pipeline),
        Node::If(branches, _) => {
            branches.iter().take(1).flat_map(|(_, body)| body).map(node_title).collect()
        }
    }
}

/// The title of the first field that a pipeline names.
fn pipeline_title(pipeline: &Pipeline) -> String {
    let mut operands = pipeline.commands.iter().flatten();
    let title = operands.find_map(|operand| match operand {
        Operand::Dot(path) | Operand::Variable(_, path) => path.last().map(|name| title(name)),
        Operand::Nested(inner, _) => Some(pipeline_title(inner)),
        Operand::Constant(_) | Operand::Function(_) => None,
    });
    title.unwrap_or_default()
}

/// `.FsType` is the column FS TYPE.
fn title(name: &str) -> String {
    let mut title = String::new();
    let mut after_small = false;
    for c in name.chars() {
        if c.is_uppercase() && after_small {
            title.push(' ');
        }
        after_small = c.is_lowercase();
        title.extend(c.to_uppercase());
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;
    use proptest::prelude::*;
    use serde_json::json;

    fn row() -> Json {
        json!({
            "name": "pgdata", "id": "vol-1", "size": 10_737_418_240_u64, "fsType": "ext4",
            "labels": {"tier": "gold", "app": "db"}, "capabilities": ["expand", "size"],
            "consumers": [{"id": "cli", "pid": 7}], "mounted": 1,
        })
    }

    fn fields() -> Vec<String> {
        let words = "name id size fsType labels capabilities consumers mounted mountpoint";
        words.split(' ').map(str::to_owned).collect()
    }

    fn render(template: &str) -> Result<String> {
        Template::parse(template)?.render(&row(), &fields())
    }

    #[test]
    fn fields_have_gos_names() {
        assert_eq!(
            render("{{.Name}} {{ .ID }} {{.FsType}} {{.Mounted}}").unwrap(),
            "pgdata vol-1 ext4 1"
        );
    }

    #[test]
    fn a_size_reads_well() {
        assert_eq!(render("{{.Size}}").unwrap(), "10GiB");
    }

    #[test]
    fn a_field_without_value_is_empty_and_false() {
        assert_eq!(render("<{{.Mountpoint}}>").unwrap(), "<>");
        assert_eq!(render("{{if .Mountpoint}}yes{{else}}no{{end}}").unwrap(), "no");
    }

    #[test]
    fn a_field_that_does_not_exist_lists_those_that_do() {
        let error = render("{{.Nam}}").unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert_eq!(
            error.message(),
            "there is no field .Nam; did you mean .Name? fields are .Name, .ID, .Size, .FsType, \
             .Labels, .Capabilities, .Consumers, .Mounted, .Mountpoint"
        );
    }

    #[test]
    fn lists_and_maps_read_well() {
        assert_eq!(render("{{.Labels}}").unwrap(), "app=db,tier=gold");
        assert_eq!(render("{{.Labels.tier}} {{index .Labels \"app\"}}").unwrap(), "gold db");
        assert_eq!(render("{{.Capabilities}}").unwrap(), "expand,size");
        assert_eq!(render("{{join .Capabilities \"; \"}}").unwrap(), "expand; size");
        assert_eq!(render("{{range .Consumers}}{{.ID}}:{{.PID}}{{end}}").unwrap(), "cli:7");
    }

    #[test]
    fn functions_of_docker_work() {
        assert_eq!(render("{{upper .Name}} {{.Name | upper | lower}}").unwrap(), "PGDATA pgdata");
        assert_eq!(render("{{json .Labels}}").unwrap(), r#"{"app":"db","tier":"gold"}"#);
        assert_eq!(render("{{json .Name}}").unwrap(), "\"pgdata\"");
        assert_eq!(render("{{len (split .ID \"-\")}}").unwrap(), "2");
    }

    #[test]
    fn json_of_the_row_is_what_the_json_format_prints() {
        let printed: Json = serde_json::from_str(&render("{{json .}}").unwrap()).unwrap();
        assert_eq!(printed, row());
    }

    #[test]
    fn tabs_and_newlines_are_written_as_in_go() {
        assert_eq!(render(r"{{.Name}}\t{{.ID}}\n").unwrap(), "pgdata\tvol-1\n");
    }

    #[test]
    fn a_table_has_the_titles_of_its_fields() {
        let template = Template::parse(r"table {{.Name}}\t{{.FsType}}\t{{upper .ID}}").unwrap();
        assert_eq!(template.header().as_deref(), Some("NAME\tFS TYPE\tID"));
        assert_eq!(template.render(&row(), &fields()).unwrap(), "pgdata\text4\tVOL-1");
    }

    #[test]
    fn a_word_that_is_no_format_is_refused() {
        let error = Template::parse("jsno").map(drop).unwrap_err();
        assert!(error.message().contains("jsonp"), "{error}");
    }

    #[test]
    fn broken_templates_are_refused() {
        for template in [
            "{{",
            "{{.Name",
            "{{if .Name}}",
            "{{nosuch .Name}}",
            "{{end}}",
            "{{\"}}",
            "{{.Name .ID}}",
            "{{$x}}",
            "{{(.Name}}",
            "{{.Name | }}",
            "{{1.2.3}}",
            "{{é}}",
            "{{.Name.X}}",
            "{{else}}",
        ] {
            let error = render(template).expect_err(template);
            assert_eq!(error.kind(), Kind::InvalidArgument, "{template}");
        }
    }

    #[test]
    fn blocks_work_as_in_go() {
        for (template, expected) in [
            ("{{if eq .Name \"x\"}}x{{else if .Labels}}l{{else}}n{{end}}", "l"),
            ("{{if and .Name (gt .Mounted 0)}}yes{{end}}", "yes"),
            ("{{with .Labels}}{{.app}}{{else}}none{{end}}", "db"),
            ("{{with .Mountpoint}}{{.}}{{else}}{{.Name}}{{end}}", "pgdata"),
            ("{{range $i, $c := .Capabilities}}{{$i}}{{$c}} {{end}}", "0expand 1size "),
            ("{{range $k, $v := .Labels}}{{$k}}:{{$v}};{{end}}", "app:db;tier:gold;"),
            ("{{range .Mountpoint}}x{{else}}none{{end}}", "none"),
            ("{{range .Capabilities}}{{$.Name}} {{end}}", "pgdata pgdata "),
            ("{{$n := .Name}}{{$n}}{{/* a \" comment }} */}}!", "pgdata!"),
            ("a {{- .Name -}} b", "apgdatab"),
            ("{{(index .Consumers 0).ID}}", "cli"),
            (
                "{{printf \"%-8s|%5.2s|%d%%|%q\" .Name .ID .Mounted .FsType}}",
                "pgdata  |   vo|1%|\"ext4\"",
            ),
            ("{{.Labels.nosuch}}", "<no value>"),
        ] {
            assert_eq!(render(template).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn braces_in_a_string_do_not_end_an_action() {
        assert_eq!(render("{{join .Capabilities \"}}\"}}").unwrap(), "expand}}size");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_template_panics(
            text in r#"(\{\{|\}\}|\.|Name|Labels|range|if|end|else|with| |\$|"|`|:=|\||\(|\)|json|printf|%d|-|[0-9]|/\*|x|define|template|index|,|=|é){0,14}"#
        ) {
            let _ = render(&text);
        }
    }
}
