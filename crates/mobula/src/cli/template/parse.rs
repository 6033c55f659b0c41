//! From the text of a template to its nodes.

use super::functions;
use super::lex::{Piece, Token, pieces, tokens};
use error::{Error, Result};
use serde_json::Value as Json;

/// No sensible template is nested deeper.
const DEEPEST: usize = 50;

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Text as it is.
    Text(String),
    /// `{{pipeline}}`, or `{{$x := pipeline}}`, which shows nothing.
    Action(Pipeline),
    /// `{{if}}` and its `{{else if}}`s in turn, then `{{else}}`.
    If(Vec<(Pipeline, Vec<Node>)>, Vec<Node>),
    /// `{{with}}`: the body sees the pipeline's value as dot.
    With(Pipeline, Vec<Node>, Vec<Node>),
    /// `{{range}}`: the body for each element; the rest when there is none.
    Range(Pipeline, Vec<Node>, Vec<Node>),
}

/// Commands, each with the result of the one before as its last argument.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    /// The variables that get the result.
    pub(super) variables: Vec<String>,
    /// The commands, at least one.
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A word of a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// `.` and `.A.B`: fields of dot.
    Dot(Vec<String>),
    /// `$x` and `$x.A`; `$` is the row.
    Variable(String, Vec<String>),
    /// A constant.
    Constant(Json),
    /// The name of a function.
    Function(String),
    /// `(pipeline).A`.
    Nested(Pipeline, Vec<String>),
}

/// Parses a whole template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>> {
    let mut parser = Parser { pieces: pieces(text)?.into_iter(), depth: 0 };
    let (nodes, end) = parser.nodes()?;
    match end {
        None => Ok(nodes),
        Some(end) => Err(refused(&format!("{{{{{}}}}} closes nothing", end.word()))),
    }
}

/// The error of a template that makes no sense.
pub(super) fn refused(why: &str) -> Error {
    Error::invalid_argument(format!("the template is refused: {why}"))
}

/// What ended a list of nodes.
enum End {
    End,
    Else(Vec<Token>),
}

impl End {
    fn word(&self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Else(_) => "else",
        }
    }
}

struct Parser<'a> {
    pieces: std::vec::IntoIter<Piece<'a>>,
    depth: usize,
}

impl Parser<'_> {
    /// Nodes up to an `{{end}}` or `{{else}}`, or to the end of the text.
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<End>)> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let action = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(action) => tokens(action)?,
            };
            let word = match action.first() {
                Some(Token::Word(word)) => word.as_str(),
                _ => "",
            };
            match word {
                "end" if action.len() == 1 => return Ok((nodes, Some(End::End))),
                "else" => return Ok((nodes, Some(End::Else(action[1..].to_vec())))),
                "if" => nodes.push(self.conditional(&action[1..])?),
                "with" => {
                    let (pipeline, body, rest) = self.block(&action[1..])?;
                    nodes.push(Node::With(pipeline, body, rest));
                }
                "range" => {
                    let (pipeline, body, rest) = self.block(&action[1..])?;
                    nodes.push(Node::Range(pipeline, body, rest));
                }
                _ => nodes.push(Node::Action(pipeline(&action)?)),
            }
        }
        Ok((nodes, None))
    }

    fn conditional(&mut self, condition: &[Token]) -> Result<Node> {
        let mut branches = Vec::new();
        let mut condition = condition.to_vec();
        loop {
            let (body, end) = self.body("if")?;
            branches.push((pipeline(&condition)?, body));
            match end {
                End::End => return Ok(Node::If(branches, Vec::new())),
                End::Else(words) if words.is_empty() => {
                    return Ok(Node::If(branches, self.last_body("if")?));
                }
                End::Else(words) => condition = else_if(&words)?,
            }
        }
    }

    fn block(&mut self, head: &[Token]) -> Result<(Pipeline, Vec<Node>, Vec<Node>)> {
        let head = pipeline(head)?;
        let (body, end) = self.body("block")?;
        let rest = match end {
            End::End => Vec::new(),
            End::Else(words) if words.is_empty() => self.last_body("block")?,
            End::Else(_) => return Err(refused("only if knows {{else if}}")),
        };
        Ok((head, body, rest))
    }

    fn body(&mut self, of: &str) -> Result<(Vec<Node>, End)> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(refused("it is nested too deep"));
        }
        let (nodes, end) = self.nodes()?;
        self.depth -= 1;
        let end = end.ok_or_else(|| refused(&format!("an {{{{end}}}} is missing ({of})")))?;
        Ok((nodes, end))
    }

    fn last_body(&mut self, of: &str) -> Result<Vec<Node>> {
        match self.body(of)? {
            (nodes, End::End) => Ok(nodes),
            _ => Err(refused("{{else}} follows {{else}}")),
        }
    }
}

fn else_if(words: &[Token]) -> Result<Vec<Token>> {
    match words {
        [Token::Word(word), condition @ ..] if word == "if" => Ok(condition.to_vec()),
        _ => Err(refused("{{else}} takes only if")),
    }
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline> {
    let mut rest = tokens;
    let pipeline = commands(&mut rest, 0)?;
    if rest.is_empty() { Ok(pipeline) } else { Err(refused("a parenthesis closes nothing")) }
}

/// Reads up to the end, or to the parenthesis that closes what was opened before.
fn commands(rest: &mut &[Token], depth: usize) -> Result<Pipeline> {
    if depth > DEEPEST {
        return Err(refused("it is nested too deep"));
    }
    let variables = variables(rest);
    let mut commands = vec![Vec::new()];
    while let Some((token, tail)) = rest.split_first() {
        if *token == Token::Close {
            break;
        }
        *rest = tail;
        if *token == Token::Pipe {
            commands.push(Vec::new());
            continue;
        }
        let operand = operand(token, rest, depth)?;
        commands.last_mut().into_iter().for_each(|command| command.push(operand.clone()));
    }
    if commands.iter().any(Vec::is_empty) {
        return Err(refused("a command is missing"));
    }
    Ok(Pipeline { variables, commands })
}

/// Reads `$x :=` and `$i, $x :=`.
fn variables(rest: &mut &[Token]) -> Vec<String> {
    let plain = |fields: &Vec<String>| fields.is_empty();
    match *rest {
        [Token::Variable(x, fields), Token::Assign, tail @ ..] if plain(fields) => {
            *rest = tail;
            vec![x.clone()]
        }
        [
            Token::Variable(i, first),
            Token::Comma,
            Token::Variable(x, second),
            Token::Assign,
            tail @ ..,
        ] if plain(first) && plain(second) => {
            *rest = tail;
            vec![i.clone(), x.clone()]
        }
        _ => Vec::new(),
    }
}

fn operand(token: &Token, rest: &mut &[Token], depth: usize) -> Result<Operand> {
    Ok(match token {
        Token::Field(fields) => Operand::Dot(fields.clone()),
        Token::Variable(name, fields) => Operand::Variable(name.clone(), fields.clone()),
        Token::Constant(value) => Operand::Constant(value.clone()),
        Token::Word(word) => {
            functions::check(word)?;
            Operand::Function(word.clone())
        }
        Token::Open => {
            let inner = commands(rest, depth + 1)?;
            let Some((Token::Close, tail)) = rest.split_first() else {
                return Err(refused("a parenthesis is not closed"));
            };
            *rest = tail;
            let mut fields = Vec::new();
            if let Some((Token::Chain(chain), tail)) = rest.split_first() {
                fields.clone_from(chain);
                *rest = tail;
            }
            Operand::Nested(inner, fields)
        }
        other => return Err(refused(&format!("{} stands where it cannot", other.shown()))),
    })
}
