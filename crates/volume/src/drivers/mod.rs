//! The drivers, two lines each: a module and an entry in the list.

pub mod ebs;
pub mod local;
pub mod r#loop;
pub mod memory;

use crate::driver::Spec;
use crate::options::nearest;
use error::{Error, Result};

/// Every driver of this program.
pub const ALL: [&Spec; 4] = [&ebs::SPEC, &local::SPEC, &r#loop::SPEC, &memory::SPEC];

/// The driver of this name; none → `NotFound` with a suggestion.
pub fn get(name: &str) -> Result<&'static Spec> {
    ALL.into_iter().find(|spec| spec.name == name).ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|spec| spec.name).collect();
        let hint = nearest(name, &names).map(|near| format!("did you mean {near}? "));
        Error::not_found(format!(
            "there is no driver \"{}\"; {}drivers are {}",
            name.escape_debug().take(40).collect::<String>(),
            hint.unwrap_or_default(),
            names.join(", ")
        ))
    })
}
