//! What the nodes of a template show for a row.

use super::functions;
use super::parse::{Node, Operand, Pipeline};
use error::{Error, Result};
use serde_json::{Map, Value as Json};
use volume::Size;

/// A value that a template works with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// An object whose fields have Go's names: a row, or an object in a list.
    Structure(Map<String, Json>),
    /// Everything else; an object is a map with the user's own keys.
    Plain(Json),
}

impl Value {
    /// A value; objects that are a row or in a list are structures.
    pub(super) fn of(json: &Json) -> Self {
        match json {
            Json::Object(members) => Self::Structure(members.clone()),
            other => Self::Plain(other.clone()),
        }
    }

    /// What it was made of.
    pub(super) fn into_json(self) -> Json {
        match self {
            Self::Structure(members) => Json::Object(members),
            Self::Plain(json) => json,
        }
    }

    /// As Go sees it: nothing, zero and empty are false.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Structure(_) => true,
            Self::Plain(json) => match json {
                Json::Null => false,
                Json::Bool(value) => *value,
                Json::Number(number) => number.as_f64() != Some(0.0),
                Json::String(text) => !text.is_empty(),
                Json::Array(list) => !list.is_empty(),
                Json::Object(map) => !map.is_empty(),
            },
        }
    }

    /// For people: lists with commas, maps as `key=value`, structures as JSON.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Structure(members) => Json::Object(members.clone()).to_string(),
            Self::Plain(json) => plain_text(json),
        }
    }
}

fn plain_text(json: &Json) -> String {
    match json {
        Json::Null => "<no value>".to_owned(),
        Json::String(text) => text.clone(),
        Json::Array(list) => {
            list.iter().map(|entry| Value::of(entry).text()).collect::<Vec<_>>().join(",")
        }
        Json::Object(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{key}={}", plain_text(value)));
            pairs.collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

/// The name of a JSON key in a template: `fsType` is `.FsType`, `id` is `.ID`.
pub(super) fn go_name(key: &str) -> String {
    if key == "id" || key == "pid" || key == "os" {
        return key.to_uppercase();
    }
    let mut characters = key.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// A row being shown.
pub(super) struct Evaluation<'a> {
    row: &'a Json,
    fields: &'a [String],
    variables: Vec<(&'a str, Value)>,
    shown: String,
}

impl<'a> Evaluation<'a> {
    /// A row that may have `fields`.
    pub(super) fn new(row: &'a Json, fields: &'a [String]) -> Self {
        Self { row, fields, variables: Vec::new(), shown: String::new() }
    }

    /// What the nodes show.
    pub(super) fn finish(mut self, nodes: &'a [Node]) -> Result<String> {
        let row = Value::of(self.row);
        self.nodes(nodes, &row)?;
        Ok(self.shown)
    }

    fn nodes(&mut self, nodes: &'a [Node], dot: &Value) -> Result<()> {
        nodes.iter().try_for_each(|node| self.node(node, dot))
    }

    fn node(&mut self, node: &'a Node, dot: &Value) -> Result<()> {
        match node {
            Node::Text(text) => self.shown.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.shown.push_str(&value.text());
                } else {
                    self.assign(pipeline, value);
                }
            }
            Node::If(branches, rest) => self.conditional(branches, rest, dot)?,
            Node::With(pipeline, body, rest) => {
                let value = self.pipeline(pipeline, dot)?;
                let (body, dot) = if value.is_true() { (body, &value) } else { (rest, dot) };
                self.scope(|scope| {
                    scope.assign(pipeline, value.clone());
                    scope.nodes(body, dot)
                })?;
            }
            Node::Range(pipeline, body, rest) => self.range(pipeline, body, rest, dot)?,
        }
        Ok(())
    }

    fn assign(&mut self, pipeline: &'a Pipeline, value: Value) {
        if let Some(name) = pipeline.variables.last() {
            self.variables.push((name, value));
        }
    }

    /// What is declared within `work` ends with it.
    fn scope(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let outside = self.variables.len();
        work(self)?;
        self.variables.truncate(outside);
        Ok(())
    }

    fn conditional(
        &mut self,
        branches: &'a [(Pipeline, Vec<Node>)],
        rest: &'a [Node],
        dot: &Value,
    ) -> Result<()> {
        self.scope(|scope| {
            for (condition, body) in branches {
                let value = scope.pipeline(condition, dot)?;
                let holds = value.is_true();
                scope.assign(condition, value);
                if holds {
                    return scope.nodes(body, dot);
                }
            }
            scope.nodes(rest, dot)
        })
    }

    fn range(
        &mut self,
        pipeline: &'a Pipeline,
        body: &'a [Node],
        rest: &'a [Node],
        dot: &Value,
    ) -> Result<()> {
        let entries = entries(self.pipeline(pipeline, dot)?)?;
        if entries.is_empty() {
            return self.nodes(rest, dot);
        }
        for (key, value) in entries {
            self.scope(|scope| {
                if let [index, _] = pipeline.variables.as_slice() {
                    scope.variables.push((index, Value::Plain(key)));
                }
                scope.assign(pipeline, value.clone());
                scope.nodes(body, &value)
            })?;
        }
        Ok(())
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let mut result = None;
        for command in &pipeline.commands {
            result = Some(self.command(command, result, dot)?);
        }
        result.ok_or_else(|| Error::internal("a pipeline without commands"))
    }

    fn command(&self, command: &[Operand], last: Option<Value>, dot: &Value) -> Result<Value> {
        let (first, rest) =
            command.split_first().ok_or_else(|| Error::internal("a command without words"))?;
        if let Operand::Function(name) = first {
            let arguments = rest.iter().map(|operand| self.operand(operand, dot));
            let arguments: Vec<Value> = arguments.chain(last.map(Ok)).collect::<Result<_>>()?;
            return functions::call(name, arguments);
        }
        if !rest.is_empty() || last.is_some() {
            return Err(inapplicable("only functions take arguments"));
        }
        self.operand(first, dot)
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value> {
        match operand {
            Operand::Dot(path) => self.path(dot.clone(), path),
            Operand::Variable(name, path) => self.path(self.variable(name)?, path),
            Operand::Constant(value) => Ok(Value::Plain(value.clone())),
            Operand::Function(name) => functions::call(name, Vec::new()),
            Operand::Nested(pipeline, path) => self.path(self.pipeline(pipeline, dot)?, path),
        }
    }

    fn variable(&self, name: &str) -> Result<Value> {
        if name == "$" {
            return Ok(Value::of(self.row));
        }
        let known = self.variables.iter().rev().find(|(known, _)| *known == name);
        known
            .map(|(_, value)| value.clone())
            .ok_or_else(|| inapplicable(&format!("there is no variable {name}")))
    }

    fn path(&self, start: Value, path: &[String]) -> Result<Value> {
        path.iter().try_fold(start, |value, name| self.field(&value, name))
    }

    fn field(&self, value: &Value, name: &str) -> Result<Value> {
        match value {
            Value::Structure(members) => self.member(members, name),
            Value::Plain(Json::Object(map)) => {
                Ok(Value::Plain(map.get(name).cloned().unwrap_or_default()))
            }
            Value::Plain(_) => {
                Err(inapplicable(&format!(".{name} is asked of what has no fields")))
            }
        }
    }

    /// A field of a structure; one without a value is empty.
    fn member(&self, members: &Map<String, Json>, name: &str) -> Result<Value> {
        if let Some((key, json)) = members.iter().find(|(key, _)| go_name(key) == name) {
            return Ok(Value::Plain(shown(key, json)));
        }
        if self.fields.iter().any(|field| go_name(field) == name) {
            return Ok(Value::Plain("".into()));
        }
        Err(self.unknown(members, name))
    }

    fn unknown(&self, members: &Map<String, Json>, name: &str) -> Error {
        let is_row = self.row.as_object() == Some(members);
        let mut names: Vec<String> = if is_row {
            self.fields.iter().map(|field| go_name(field)).collect()
        } else {
            members.keys().map(|key| go_name(key)).collect()
        };
        names.dedup();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let hint = volume::options::nearest(name, &known);
        let hint = hint.map(|near| format!("did you mean .{near}? ")).unwrap_or_default();
        let known = known.join(", .");
        Error::invalid_argument(format!("there is no field .{name}; {hint}fields are .{known}"))
    }
}

/// A member as people read it: sizes with their unit.
fn shown(key: &str, json: &Json) -> Json {
    match (key, json) {
        ("size", Json::Number(bytes)) => {
            bytes.as_u64().map_or_else(|| json.clone(), |bytes| Size(bytes).to_string().into())
        }
        (_, Json::Null) => "".into(),
        _ => json.clone(),
    }
}

/// What a range goes through, with keys.
fn entries(value: Value) -> Result<Vec<(Json, Value)>> {
    match value {
        Value::Plain(Json::Array(list)) => {
            Ok(list.iter().enumerate().map(|(key, entry)| (key.into(), Value::of(entry))).collect())
        }
        Value::Plain(Json::Object(map)) => {
            Ok(map.into_iter().map(|(key, entry)| (key.into(), Value::Plain(entry))).collect())
        }
        // A field without a value.
        Value::Plain(Json::Null) => Ok(Vec::new()),
        Value::Plain(Json::String(text)) if text.is_empty() => Ok(Vec::new()),
        _ => Err(inapplicable("range needs a list or a map")),
    }
}

/// The error of a template that does not suit the row.
pub(super) fn inapplicable(why: &str) -> Error {
    Error::invalid_argument(format!("the template cannot be applied: {why}"))
}
