//! Go templates for `--format`, as docker's command line has them. The only file that knows the
//! template engine.

use error::{Error, Result};
use gtmpl::error::ExecError;
use gtmpl::{Context, FuncError, Value};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use volume::Size;

/// Where a structure keeps the JSON that it was made of: no template can name it.
const ORIGINAL: &str = "";

/// A parsed template.
pub(crate) struct Template {
    engine: gtmpl::Template,
    header: Option<String>,
}

impl Template {
    /// Parses a template; `table …` has a header and columns separated by `\t`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (body, is_table) = match text.strip_prefix("table ") {
            Some(body) => (body, true),
            None => (text, false),
        };
        let pieces = split(body);
        if !pieces.iter().any(|piece| matches!(piece, Piece::Action(_))) {
            return Err(unknown_format(text));
        }
        let mut engine = gtmpl::Template::default();
        engine.add_funcs(&FUNCTIONS);
        let prepared: String = pieces.iter().map(Piece::prepared).collect();
        engine.parse(prepared).map_err(|error| refused(text, error))?;
        let header = is_table.then(|| pieces.iter().map(Piece::title).collect());
        Ok(Self { engine, header })
    }

    /// The titles of a `table …` template's columns, separated by tabs.
    pub(crate) fn header(&self) -> Option<&str> {
        self.header.as_deref()
    }

    /// The text for `row`, a JSON object that may have `fields`.
    pub(crate) fn render(&self, row: &Json, fields: &[String]) -> Result<String> {
        let context = Context::from(structure(row, fields));
        self.engine.render(&context).map_err(|error| failed(error, fields))
    }
}

fn unknown_format(text: &str) -> Error {
    let text: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    Error::invalid_argument(format!(
        "\"{text}\" is no format; give table, json, jsonp or a Go template such as '{{{{.Name}}}}'"
    ))
}

fn refused(text: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    let text: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    Error::invalid_argument(format!("the template \"{text}\" is refused")).because(cause)
}

fn failed(error: ExecError, fields: &[String]) -> Error {
    let ExecError::NoFiledFor(name, _) = error else {
        return Error::invalid_argument("the template cannot be applied").because(error);
    };
    let names: Vec<String> = fields.iter().map(|field| go_name(field)).collect();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let hint = volume::options::nearest(&name, &known);
    let hint = hint.map(|near| format!("did you mean .{near}? ")).unwrap_or_default();
    Error::invalid_argument(format!(
        "there is no field .{name}; {hint}fields are .{}",
        known.join(", .")
    ))
}

enum Piece<'a> {
    Text(&'a str),
    Action(&'a str),
}

/// Separates text from `{{actions}}`; an action that does not end is left to the engine.
fn split(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let end = start + action_length(&rest[start..]);
        pieces.push(Piece::Text(&rest[..start]));
        pieces.push(Piece::Action(&rest[start..end]));
        rest = &rest[end..];
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// The length of the action that `text` begins with; `}}` in a string does not end it.
fn action_length(text: &str) -> usize {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match (quote, c) {
            (Some('"'), '\\') => drop(characters.next()),
            (Some(open), _) if open == c => quote = None,
            (None, '"' | '`') => quote = Some(c),
            (None, '}') if text[at..].starts_with("}}") => return at + 2,
            _ => {}
        }
    }
    text.len()
}

impl Piece<'_> {
    /// What the engine gets. An action that is nothing but a field is shown our way: the engine
    /// would print lists and maps in Rust's notation.
    fn prepared(&self) -> String {
        match self {
            Self::Text(text) => text.replace("\\t", "\t").replace("\\n", "\n"),
            Self::Action(action) => match bare_field(action) {
                Some(field) => action.replacen(field, &format!("show {field}"), 1),
                None => (*action).to_owned(),
            },
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Text(_) => self.prepared(),
            Self::Action(action) => title(action),
        }
    }
}

fn bare_field(action: &str) -> Option<&str> {
    let inner = action.strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix("- ").unwrap_or(inner);
    let field = inner.strip_suffix(" -").unwrap_or(inner).trim();
    let is_plain = field.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '$'));
    (is_plain && field.starts_with(['.', '$'])).then_some(field)
}

/// `{{.FsType}}` is the column FS TYPE.
fn title(action: &str) -> String {
    let Some((_, field)) = action.rsplit_once('.') else { return String::new() };
    let name: String = field.chars().take_while(|c| c.is_alphanumeric()).collect();
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

/// The name of a JSON key in a template: `fsType` is `.FsType`, `id` is `.ID`.
fn go_name(key: &str) -> String {
    if key == "id" || key == "pid" {
        return key.to_uppercase();
    }
    let mut characters = key.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// A structure: its fields by their Go names, those without a value empty.
fn structure(row: &Json, fields: &[String]) -> Value {
    let mut members: HashMap<String, Value> =
        fields.iter().map(|field| (go_name(field), Value::from(""))).collect();
    if let Json::Object(object) = row {
        members.extend(object.iter().map(|(key, value)| (go_name(key), member(key, value))));
    }
    members.insert(ORIGINAL.to_owned(), Value::from(row.to_string()));
    Value::Object(members)
}

fn member(key: &str, value: &Json) -> Value {
    match value {
        Json::Number(size) if key == "size" => {
            Value::from(size.as_u64().map_or_else(String::new, |bytes| Size(bytes).to_string()))
        }
        other => convert(other),
    }
}

/// Objects in lists are structures; other objects are maps with the user's own keys.
fn convert(value: &Json) -> Value {
    match value {
        Json::Null => Value::from(""),
        Json::Bool(value) => Value::from(*value),
        Json::String(text) => Value::from(text),
        Json::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Value::from(number),
            (_, Some(number)) => Value::from(number),
            _ => Value::from(number.as_f64().unwrap_or_default()),
        },
        Json::Array(list) => Value::Array(list.iter().map(entry).collect()),
        Json::Object(map) => Value::Map(string_map(map)),
    }
}

fn entry(value: &Json) -> Value {
    if value.is_object() { structure(value, &[]) } else { convert(value) }
}

fn string_map(map: &Map<String, Json>) -> HashMap<String, Value> {
    map.iter().map(|(key, value)| (key.clone(), convert(value))).collect()
}

const FUNCTIONS: [(&str, gtmpl::Func); 6] = [
    ("json", json),
    ("join", join),
    ("upper", upper),
    ("lower", lower),
    ("show", show),
    ("split", separate),
];

fn json(arguments: &[Value]) -> Result<Value, FuncError> {
    let [value] = arguments else { return Err(FuncError::ExactlyXArgs("json".into(), 1)) };
    Ok(Value::from(to_json(value).to_string()))
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::String(text) => Json::String(text.clone()),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (_, Some(number)) => number.into(),
            _ => number.as_f64().into(),
        },
        Value::Array(list) => list.iter().map(to_json).collect(),
        Value::Object(members) => original(members),
        Value::Map(map) => map.iter().map(|(key, value)| (key.clone(), to_json(value))).collect(),
        Value::NoValue | Value::Nil | Value::Function(_) => Json::Null,
    }
}

fn original(members: &HashMap<String, Value>) -> Json {
    match members.get(ORIGINAL) {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Json::Null),
        _ => Json::Null,
    }
}

fn join(arguments: &[Value]) -> Result<Value, FuncError> {
    let [Value::Array(list), Value::String(separator)] = arguments else {
        return Err(FuncError::Generic("join needs a list and a separator".into()));
    };
    Ok(Value::from(list.iter().map(text).collect::<Vec<_>>().join(separator)))
}

fn separate(arguments: &[Value]) -> Result<Value, FuncError> {
    let [Value::String(text), Value::String(separator)] = arguments else {
        return Err(FuncError::Generic("split needs a text and a separator".into()));
    };
    Ok(Value::Array(text.split(separator.as_str()).map(Value::from).collect()))
}

fn upper(arguments: &[Value]) -> Result<Value, FuncError> {
    one_text("upper", arguments).map(|text| Value::from(text.to_uppercase()))
}

fn lower(arguments: &[Value]) -> Result<Value, FuncError> {
    one_text("lower", arguments).map(|text| Value::from(text.to_lowercase()))
}

fn show(arguments: &[Value]) -> Result<Value, FuncError> {
    one_text("show", arguments).map(Value::from)
}

fn one_text(name: &str, arguments: &[Value]) -> Result<String, FuncError> {
    let [value] = arguments else { return Err(FuncError::ExactlyXArgs(name.into(), 1)) };
    Ok(text(value))
}

/// A value for people: lists with commas, maps as `key=value`, structures as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(members) => original(members).to_string(),
        Value::Map(map) => {
            let mut pairs: Vec<_> =
                map.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
            pairs.sort_unstable();
            pairs.join(",")
        }
        other => other.to_string(),
    }
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
        assert_eq!(template.header(), Some("NAME\tFS TYPE\tID"));
        assert_eq!(template.render(&row(), &fields()).unwrap(), "pgdata\text4\tVOL-1");
    }

    #[test]
    fn a_word_that_is_no_format_is_refused() {
        let error = Template::parse("jsno").map(drop).unwrap_err();
        assert!(error.message().contains("jsonp"), "{error}");
    }

    #[test]
    fn broken_templates_are_refused() {
        for template in ["{{", "{{.Name", "{{if .Name}}", "{{nosuch .Name}}", "{{end}}", "{{\"}}"] {
            let error = render(template).expect_err(template);
            assert_eq!(error.kind(), Kind::InvalidArgument, "{template}");
        }
    }

    #[test]
    fn braces_in_a_string_do_not_end_an_action() {
        assert_eq!(render("{{join .Capabilities \"}}\"}}").unwrap(), "expand}}size");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_template_makes_the_engine_panic(
            text in r#"(\{\{|\}\}|\.|Name|Labels|range|if|end|else|with| |\$|"|`|:=|\||\(|\)|json|printf|%d|-|[0-9]|/\*|x|define|template|index|,|=|é){0,14}"#
        ) {
            let _ = render(&text);
        }
    }
}
