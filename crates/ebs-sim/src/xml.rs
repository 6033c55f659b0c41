//! XML as EC2 answers it: elements with text, lists of `item`. Escaping is done here and nowhere else.

use std::fmt::{Display, Write};

/// A document, or a part of one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Xml(String);

impl Xml {
    /// An element with text.
    pub(crate) fn text(&mut self, tag: &str, value: impl Display) {
        let _ = write!(self.0, "<{tag}>");
        let begin = self.0.len();
        let _ = write!(self.0, "{value}");
        if self.0[begin..].contains(is_special) {
            let escaped = escape(&self.0[begin..]);
            self.0.truncate(begin);
            self.0.push_str(&escaped);
        }
        let _ = write!(self.0, "</{tag}>");
    }

    /// An element with text, if there is any.
    pub(crate) fn optional(&mut self, tag: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(tag, value);
        }
    }

    /// An element with others in it.
    pub(crate) fn node(&mut self, tag: &str, inner: impl FnOnce(&mut Self)) {
        let _ = write!(self.0, "<{tag}>");
        inner(self);
        let _ = write!(self.0, "</{tag}>");
    }

    /// A list: an `item` for each.
    pub(crate) fn list<T>(
        &mut self,
        tag: &str,
        items: impl IntoIterator<Item = T>,
        mut inner: impl FnMut(&mut Self, T),
    ) {
        self.node(tag, |xml| {
            for item in items {
                xml.node("item", |xml| inner(xml, item));
            }
        });
    }
}

/// The answer of an action of EC2.
pub(crate) fn response(action: &str, request: &str, inner: &Xml) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response \
         xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>{request}</requestId>{}\
         </{action}Response>",
        inner.0
    )
}

/// The answer of an action of STS.
pub(crate) fn sts_response(action: &str, request: &str, inner: &Xml) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>{}\
         </{action}Result><ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata>\
         </{action}Response>",
        inner.0
    )
}

/// An error of EC2.
pub(crate) fn error(code: &str, message: &str, request: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{}</Code>\
         <Message>{}</Message></Error></Errors><RequestID>{request}</RequestID></Response>",
        escape(code),
        escape(message)
    )
}

/// An error of STS.
pub(crate) fn sts_error(code: &str, message: &str, status: u16, request: &str) -> String {
    let whose = if status < 500 { "Sender" } else { "Receiver" };
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
         <Type>{whose}</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>{request}</RequestId></ErrorResponse>",
        escape(code),
        escape(message)
    )
}

/// Whether text with this character is not written as it is.
fn is_special(c: char) -> bool {
    matches!(c, '&' | '<' | '>' | '"' | '\0'..='\x1F' | '\u{FFFE}' | '\u{FFFF}')
}

/// Text for XML 1.0. Characters that it cannot have at all become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            '\t' | '\n' => escaped.push(c),
            '\0'..='\x1F' | '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_wrote_stays_text() {
        let mut xml = Xml::default();
        xml.list("tagSet", ["a<b&\"c\">", "\u{1}"], |xml, value| xml.text("value", value));
        assert_eq!(
            xml.0,
            "<tagSet><item><value>a&lt;b&amp;&quot;c&quot;&gt;</value></item>\
             <item><value>\u{FFFD}</value></item></tagSet>"
        );
    }

    #[test]
    fn an_error_has_the_shape_of_ec2() {
        let text = error("A", "b < c", "r");
        assert!(text.ends_with(
            "<Response><Errors><Error><Code>A</Code><Message>b &lt; c</Message></Error></Errors>\
             <RequestID>r</RequestID></Response>"
        ));
    }
}
