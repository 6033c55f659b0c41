//! The figures, by what they are about.

mod agent;
mod images;
mod mounts;
mod requests;
mod snapshots;

use super::lab::Lab;
use super::report::Report;
use error::{Error, Result};

/// A group of figures: what it is chosen by, and how it is measured.
pub(super) type Case<Lab> = (&'static str, fn(&mut Lab, &mut Report) -> Result<()>);

/// Every group, in the order that costs least: the peer has no volumes when creation is measured.
pub(super) const ALL: [Case<Lab>; 8] = [
    ("create", requests::create),
    ("get", requests::get),
    ("list", requests::list),
    ("agent", agent::agent),
    ("mount", mounts::mount),
    ("mkfs", images::mkfs),
    ("template", images::template),
    ("snapshot", snapshots::snapshot),
];

/// Those of `all` groups that are called `names`, or all; an unknown one → `InvalidArgument`.
pub(super) fn chosen<L>(all: &[Case<L>], names: &[String]) -> Result<Vec<Case<L>>> {
    let known: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    if let Some(wrong) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Error::invalid_argument(format!(
            "there is no group of figures {wrong:?}; groups are {}",
            known.join(", ")
        )));
    }
    let wanted =
        |(name, _): &Case<L>| names.is_empty() || names.iter().any(|wanted| wanted == name);
    Ok(all.iter().copied().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_chosen_by_name() {
        assert_eq!(chosen(&ALL, &[]).unwrap().len(), ALL.len());
        assert_eq!(chosen(&ALL, &["mount".to_owned()]).unwrap()[0].0, "mount");
        let error = chosen(&ALL, &["speed".to_owned()]).expect_err("unknown").to_string();
        assert!(error.contains("create, get"), "{error}");
    }
}
