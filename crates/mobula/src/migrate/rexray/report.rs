//! The report: a row for each setting, in the order in which they were read, then the defaults of
//! REX-Ray that services were given.

use super::drivers::Driver;
use super::keys::{self, Becomes, Takes};
use super::mapping::{Mapper, Mark};
use super::modules::{field_change, is_remote};
use super::settings::{Known, Origin, Scope, Setting};
use super::table::HOST;
use crate::migrate::{Fate, Row};

/// The rows of these settings.
pub(super) fn rows(mapper: &Mapper<'_>, drivers: &[Driver]) -> Vec<Row> {
    let settings = mapper.settings.all.iter().enumerate();
    let settings = settings.map(|(index, setting)| row(mapper, index, setting, drivers));
    let defaults = mapper.defaults.iter().filter(|default| !default.mark.mapped.is_empty());
    let defaults = defaults.map(|default| Row {
        key: spelled(default.key).to_owned(),
        was: default.value.to_owned(),
        from: Origin::Default.to_string(),
        fate: Fate::Mapped,
        became: default.mark.mapped.clone(),
        change: default.mark.changes.iter().cloned().collect::<Vec<_>>().join(" "),
        attention: false,
    });
    settings.chain(defaults).collect()
}

/// The key with its capitals.
fn spelled(key: &str) -> &str {
    let names = super::table::KEYS.iter().map(|known| known.name);
    names.into_iter().find(|name| name.eq_ignore_ascii_case(key)).unwrap_or(key)
}

fn row(mapper: &Mapper<'_>, index: usize, setting: &Setting<'_>, drivers: &[Driver]) -> Row {
    let mark = &mapper.marks[index];
    let outcome = outcome(mapper, index, setting, mark, drivers);
    let mut changes: Vec<String> = mark.changes.iter().cloned().collect();
    changes.extend(outcome.change);
    if setting.value.dollar {
        changes.push(
            "A $NAME in it that is not set stays as it is written; REX-Ray put nothing in its \
             place."
                .to_owned(),
        );
    }
    Row {
        key: setting.origin.spelling().unwrap_or(&setting.shown).to_owned(),
        was: setting.was(),
        from: setting.origin.to_string(),
        fate: outcome.fate,
        became: if mark.mapped.is_empty() { mark.later.clone() } else { mark.mapped.clone() },
        change: changes.join(" "),
        attention: outcome.attention,
    }
}

struct Told {
    fate: Fate,
    change: Option<String>,
    attention: bool,
}

impl Told {
    fn new(fate: Fate, change: impl Into<String>) -> Self {
        let change: String = change.into();
        Self { fate, change: (!change.is_empty()).then_some(change), attention: false }
    }
}

fn outcome(
    mapper: &Mapper<'_>,
    index: usize,
    setting: &Setting<'_>,
    mark: &Mark,
    drivers: &[Driver],
) -> Told {
    if !mark.mapped.is_empty() {
        return Told::new(Fate::Mapped, "");
    }
    if !mark.later.is_empty() {
        return Told::new(Fate::NotThereYet, "");
    }
    if let Some(fate) = mark.done {
        return Told::new(fate, "");
    }
    if let Some(winner) = winner(mapper, index, setting) {
        let by = winner.origin.spelling().unwrap_or(&winner.shown);
        return Told::new(Fate::Overridden, format!("{by} ({}) counts.", winner.origin));
    }
    match setting.known {
        Known::Unknown => unknown(setting, drivers),
        Known::Key(_) => of_key(setting),
        Known::Driver(driver, _) => {
            Told::new(Fate::NotNeeded, format!("No service of driver {} takes it.", driver.name))
        }
        Known::Field("desc") => Told::new(Fate::NoEquivalent, field_change(setting.known)),
        Known::Field(_) => Told::new(Fate::NotNeeded, field_change(setting.known)),
    }
}

/// The setting that counts instead of this one: in the same scope, or in a narrower one.
fn winner<'a>(
    mapper: &'a Mapper<'_>,
    index: usize,
    setting: &Setting<'_>,
) -> Option<&'a Setting<'a>> {
    if matches!(setting.known, Known::Unknown) {
        return None;
    }
    let narrower = || {
        let mut others = mapper.settings.all.iter().zip(&mapper.marks);
        let counts = |mark: &Mark| !mark.mapped.is_empty() || !mark.later.is_empty();
        others.find(|(other, mark)| {
            other.key == setting.key && other.scope > setting.scope && counts(mark)
        })
    };
    mapper.settings.winner_over(index).or_else(|| narrower().map(|(other, _)| other))
}

fn unknown(setting: &Setting<'_>, drivers: &[Driver]) -> Told {
    let near = keys::suggestion(setting, drivers);
    let hint = near.map(|near| format!(" Did you mean {near}?")).unwrap_or_default();
    let mut told = Told::new(Fate::Unknown, format!("REX-Ray has no such key.{hint}"));
    // It never took effect; perhaps it was believed to.
    told.attention = !hint.is_empty();
    told
}

fn of_key(setting: &Setting<'_>) -> Told {
    let Known::Key(key) = setting.known else { return Told::new(Fate::Unknown, "") };
    let is_off = key.takes == Takes::Switch && keys::is_on(&setting.value.text) == Some(false);
    if is_off && !matches!(key.becomes, Becomes::Volume(_)) {
        return Told::new(Fate::NotNeeded, "It is off.");
    }
    let mut told = match key.becomes {
        Becomes::NoEquivalent | Becomes::Switch(_) => Told::new(Fate::NoEquivalent, key.change),
        Becomes::NotThereYet => Told::new(Fate::NotThereYet, key.change),
        Becomes::NotNeeded => Told::new(Fate::NotNeeded, key.change),
        Becomes::Volume(_) if matches!(setting.scope, Scope::Module(_)) => Told::new(
            Fate::NoEquivalent,
            "Defaults of volumes belong to a service; give this plugin a service of its own.",
        ),
        Becomes::Volume(_) => Told::new(Fate::NotNeeded, "No service takes it from here."),
        Becomes::LogLevel | Becomes::Structure => {
            Told::new(Fate::NotNeeded, "No module takes it from here.")
        }
    };
    told.attention = key.attention;
    if setting.key == HOST && is_remote(&setting.value.text) {
        told.attention = true;
        told.change = Some(
            "Services are configured on that machine: migrate its rexray.yml too, and run an agent \
             with them on each machine that mounts volumes."
                .to_owned(),
        );
    }
    told
}
