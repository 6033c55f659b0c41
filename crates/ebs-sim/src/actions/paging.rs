//! Answers in pages: `MaxResults` and `NextToken`. A token is the last key of the page before, so that
//! nothing is missed or comes twice when other things come and go in between.

use crate::params::Params;
use crate::refusal::{Answered, Refusal};
use crate::xml::Xml;

/// Which page is wanted.
#[derive(Debug)]
pub(super) struct Page {
    size: usize,
    after: Option<String>,
}

const ALL: usize = 1000;

impl Page {
    /// Takes the parameters. `ids`: whether things are asked for by their IDs, which can't be paged.
    pub(super) fn take(params: &mut Params, least: usize, ids: bool) -> Answered<Self> {
        let size = params.number::<usize>("MaxResults")?;
        let token = params.take("NextToken").filter(|token| !token.is_empty());
        if ids && (size.is_some() || token.is_some()) {
            return Err(Refusal::combination(
                "The parameters MaxResults and NextToken cannot be used together with IDs",
            ));
        }
        if let Some(size) = size.filter(|size| !(least..=ALL).contains(size)) {
            return Err(Refusal::parameter(
                "maxResults",
                size,
                &format!("Expected: an integer between {least} and {ALL}"),
            ));
        }
        let after = token.map(|token| read(&token).ok_or_else(invalid)).transpose()?;
        Ok(Self { size: size.unwrap_or(usize::MAX), after })
    }

    /// Whether a thing with this key comes after those of the page before.
    pub(super) fn is_ahead(&self, key: &str) -> bool {
        self.after.as_ref().is_none_or(|after| key > after.as_str())
    }

    /// The things of this page, of all that are sorted by `key`; and the next token.
    pub(super) fn cut<T>(
        &self,
        all: impl Iterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> (Vec<T>, Option<String>) {
        let mut left = all.filter(|item| self.is_ahead(&key(item)));
        let page: Vec<T> = left.by_ref().take(self.size).collect();
        let more = left.next().is_some();
        let next = page.last().filter(|_| more).map(|last| write(&key(last)));
        (page, next)
    }
}

/// The token, at the end of an answer.
pub(super) fn write_next(xml: &mut Xml, next: Option<String>) {
    xml.optional("nextToken", next);
}

fn invalid() -> Refusal {
    Refusal::client("InvalidPaginationToken", "The specified pagination token is not valid")
}

/// Nobody shall read or make a token: it is hexadecimal, of the key behind a word.
fn write(key: &str) -> String {
    format!("page:{key}").bytes().map(|byte| format!("{byte:02X}")).collect()
}

fn read(token: &str) -> Option<String> {
    let digits: Vec<char> = token.chars().collect();
    let pairs = digits.chunks(2).map(|pair| pair.iter().collect::<String>());
    let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(&pair, 16).ok()).collect();
    String::from_utf8(bytes?).ok()?.strip_prefix("page:").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(form: &str, ids: bool) -> Answered<Page> {
        Page::take(&mut Params::parse(form).unwrap(), 5, ids)
    }

    #[test]
    fn pages_follow_each_other_without_gaps() {
        let all: Vec<String> = (10..27).map(|n| n.to_string()).collect();
        let (mut seen, mut next) = (Vec::new(), Some(String::new()));
        while let Some(token) = next {
            let page = page(&format!("MaxResults=5&NextToken={token}"), false).unwrap();
            let (part, following) = page.cut(all.iter().cloned(), String::clone);
            seen.extend(part);
            next = following;
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn what_cannot_be_paged_is_refused() {
        assert_eq!(page("MaxResults=4", false).unwrap_err().code, "InvalidParameterValue");
        assert_eq!(page("MaxResults=1001", false).unwrap_err().code, "InvalidParameterValue");
        assert_eq!(page("MaxResults=5", true).unwrap_err().code, "InvalidParameterCombination");
        assert_eq!(page("NextToken=xyz", false).unwrap_err().code, "InvalidPaginationToken");
    }
}
