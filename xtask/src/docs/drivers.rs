//! A page per driver, from its description.

use super::{cell, code};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use volume::drivers::ALL;
use volume::{OptionSpec, Spec};

/// Where the pages are.
pub(super) const DIR: &str = "docs/drivers";

/// The pages, by path within the workspace.
pub(super) fn pages() -> BTreeMap<PathBuf, String> {
    let path = |name: &str| Path::new(DIR).join(format!("{name}.md"));
    let pages = ALL.into_iter().map(|spec| (path(spec.name), page(spec)));
    pages.chain([(path("README"), index())]).collect()
}

fn index() -> String {
    let mut text = "\
# Drivers

Generated from the program. `mobula driver ls` shows the same, and `mobula driver inspect NAME` a
driver's page.

| driver | what its volumes are |
|---|---|
"
    .to_owned();
    for spec in ALL {
        let _ = writeln!(text, "| [{0}]({0}.md) | {1} |", spec.name, cell(spec.summary));
    }
    text
}

fn page(spec: &Spec) -> String {
    let mut text = format!(
        "# Driver `{}`\n\nGenerated from the program: {}.\n\n{}\n",
        spec.name, spec.summary, spec.description
    );
    let _ = write!(text, "\n## Service options\n\n{}", in_file(spec.name));
    table(&mut text, spec.service_options.iter().copied());
    let _ = write!(
        text,
        "\n## Volume options\n\nGiven when a volume is created (`docker volume create -o \
         NAME=VALUE`), or for every volume of a service under `volume:`.\n"
    );
    table(&mut text, spec.volume_options());
    text
}

fn in_file(driver: &str) -> String {
    format!("Set in the configuration under `services.NAME.options`, with `driver: {driver}`.\n")
}

fn table(text: &mut String, options: impl Iterator<Item = OptionSpec>) {
    let mut options = options.peekable();
    if options.peek().is_none() {
        text.push_str("\nNone.\n");
        return;
    }
    text.push_str("\n| option | value | default | meaning |\n|---|---|---|---|\n");
    for option in options {
        let (value, default) = (option.unit.describe(), option.default.unwrap_or_default());
        let secret = if option.secret { " Never shown." } else { "" };
        let (name, value, default) = (code(option.name), cell(&value), code(default));
        let _ = writeln!(text, "| {name} | {value} | {default} | {}{secret} |", cell(option.help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_a_driver_is_on_its_page() {
        for spec in ALL {
            let page = page(spec);
            for option in spec.service_options.iter().copied().chain(spec.volume_options()) {
                assert!(page.contains(&format!("| `{}` |", option.name)), "{page}");
            }
        }
    }

    #[test]
    fn a_default_of_the_driver_is_shown() {
        let page = page(volume::drivers::get("loop").unwrap());
        assert!(page.contains("| `size` | size | `10GiB` |"), "{page}");
    }
}
