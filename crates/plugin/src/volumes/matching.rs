//! Docker's filters of volumes. Pure.

use super::{Filter, Volume};
use regex_lite::Regex;

/// A filter, ready to be used.
pub(super) struct Matching<'a> {
    filter: &'a Filter,
    names: Vec<Name<'a>>,
}

/// A part of a name, and the pattern that it is as well, if it is one.
struct Name<'a>(&'a str, Option<Regex>);

impl<'a> Matching<'a> {
    pub(super) fn new(filter: &'a Filter) -> Self {
        let names = filter.names.iter().map(|part| Name(part, Regex::new(part).ok())).collect();
        Self { filter, names }
    }

    /// Whether volumes of this driver are wanted.
    pub(super) fn driver(&self, name: &str) -> bool {
        let wanted = &self.filter.drivers;
        wanted.is_empty() || wanted.iter().any(|wish| plain(wish) == plain(name))
    }

    /// Whether this volume is wanted, by its name and labels.
    pub(super) fn volume(&self, volume: &Volume) -> bool {
        let is_name = |Name(part, pattern): &Name<'_>| {
            volume.name.contains(part) || pattern.as_ref().is_some_and(|p| p.is_match(&volume.name))
        };
        let has_label = |wish: &String| {
            let (key, value) = match wish.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (wish.as_str(), None),
            };
            let has = volume.labels.as_ref().and_then(|labels| labels.get(key));
            has.is_some_and(|has| value.is_none_or(|value| has == value))
        };
        (self.names.is_empty() || self.names.iter().any(is_name))
            && self.filter.labels.iter().all(has_label)
    }
}

/// A driver's name without the tag that is meant anyway.
fn plain(name: &str) -> &str {
    name.strip_suffix(":latest").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &Filter, name: &str, label: Option<(&str, &str)>) -> bool {
        let labels = label.map(|(key, value)| [(key.to_owned(), value.to_owned())].into());
        let volume = Volume {
            created_at: None,
            driver: "d".to_owned(),
            labels,
            mountpoint: String::new(),
            name: name.to_owned(),
            options: None,
            scope: "local".to_owned(),
            status: None,
        };
        Matching::new(filter).volume(&volume)
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn names_match_by_part_or_pattern_and_any_will_do() {
        let filter = Filter { names: texts(&["data", "^x.$", "a+("]), ..Filter::default() };
        for (name, is_wanted) in
            [("pgdata", true), ("xy", true), ("xyz", false), ("a+(b", true), ("aa", false)]
        {
            assert_eq!(matches(&filter, name, None), is_wanted, "{name}");
        }
    }

    #[test]
    fn labels_match_by_key_or_by_value_and_all_must() {
        let filter = Filter { labels: texts(&["a", "a=1"]), ..Filter::default() };
        assert!(matches(&filter, "v", Some(("a", "1"))));
        assert!(!matches(&filter, "v", Some(("a", "2"))));
        assert!(!matches(&filter, "v", Some(("b", "1"))));
        assert!(!matches(&filter, "v", None));
    }

    #[test]
    fn drivers_match_with_and_without_the_tag_that_is_meant_anyway() {
        let filter = Filter { drivers: texts(&["probe", "ebs:2"]), ..Filter::default() };
        let matching = Matching::new(&filter);
        for (name, is_wanted) in
            [("probe:latest", true), ("probe", true), ("probe:1", false), ("ebs:2", true)]
        {
            assert_eq!(matching.driver(name), is_wanted, "{name}");
        }
        assert!(Matching::new(&Filter::default()).driver("any"));
    }
}
