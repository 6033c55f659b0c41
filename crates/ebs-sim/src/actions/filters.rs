//! Filters of Describe calls: `Filter.1.Name`, `Filter.1.Value.1`. All filters must match; of each,
//! any of its values, which may have `*` and `?`.

use crate::params::Params;
use crate::pattern;
use crate::refusal::{Answered, Refusal};
use crate::world::tags::Tags;

/// Values that one filter may have.
const MOST: usize = 200;

/// The filters of a call.
#[derive(Debug, Default)]
pub(super) struct Filters(Vec<(String, Vec<String>)>);

impl Filters {
    /// Takes them; a name that is not `known` → `InvalidParameterValue`. The names `tag:KEY`,
    /// `tag-key` and `tag-value` are known to all.
    pub(super) fn take(params: &mut Params, known: &[&str]) -> Answered<Self> {
        let mut filters = Vec::new();
        for mut filter in params.structures("Filter") {
            let name = filter.need("Name")?;
            let values = filter.list("Value");
            filter.finish()?;
            let is_tag = name.starts_with("tag:") || name == "tag-key" || name == "tag-value";
            if !is_tag && !known.contains(&name.as_str()) {
                return Err(Refusal::value(format!("The filter '{name}' is invalid")));
            }
            if values.is_empty() {
                return Err(Refusal::value(format!("The filter '{name}' has no values")));
            }
            if values.len() > MOST {
                let what = format!("The filter '{name}' has more than {MOST} values");
                return Err(Refusal::client("FilterLimitExceeded", what));
            }
            filters.push((name, values));
        }
        Ok(Self(filters))
    }

    /// Whether a thing with these tags passes; `values` are those it has for a filter's name.
    pub(super) fn pass(&self, tags: &Tags, values: impl Fn(&str) -> Vec<String>) -> bool {
        self.0.iter().all(|(name, wanted)| {
            let found = match name.as_str() {
                "tag-key" => tags.keys().cloned().collect(),
                "tag-value" => tags.values().cloned().collect(),
                name => match name.strip_prefix("tag:") {
                    Some(key) => tags.get(key).cloned().into_iter().collect(),
                    None => values(name),
                },
            };
            let matches = |wanted: &String| found.iter().any(|one| pattern::matches(wanted, one));
            wanted.iter().any(matches)
        })
    }
}

/// IDs that were asked for: nothing asked for passes all, one that isn't there is an error.
pub(super) fn check_ids<T>(ids: &[String], get: impl Fn(&str) -> Answered<T>) -> Answered<()> {
    ids.iter().try_for_each(|id| get(id).map(drop))
}
