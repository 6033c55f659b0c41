//! A page per driver, from its description.

use super::{cell, code};
use mobula::managed::image;
use mobula::managed::variables::variables;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use volume::driver::{Action, Subject};
use volume::drivers::{ALL, ebs};
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
    actions(&mut text, spec);
    if spec.name == ebs::SPEC.name {
        permissions(&mut text);
    }
    plugin(&mut text, spec);
    text
}

/// What the driver can do besides.
fn actions(text: &mut String, spec: &Spec) {
    if spec.actions.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n## Actions\n\n`mobula {0} ACTION`, or `POST /v1/services/SERVICE/actions/ACTION` at the \
         agent's socket. With several services of this driver, `--service` says which. Names of \
         options do not mind their case.\n",
        spec.name
    );
    for Action { name, help, subject, options, order } in spec.actions {
        let about = match subject {
            Subject::Service => "",
            Subject::Volume => " VOLUME",
            Subject::Snapshot => " SNAPSHOT",
        };
        let _ = write!(text, "\n### `mobula {} {name}{about}`\n\n{help}\n", spec.name);
        if !options.is_empty() {
            table(text, options.iter().copied());
        }
        if let Some(order) = order {
            let _ = write!(
                text,
                "\nAt a terminal, `--{order}` asks before it does what may cost data; `--yes` answers \
                 that beforehand.\n"
            );
        }
    }
}

/// What the credentials of the driver `ebs` must allow.
fn permissions(text: &mut String) {
    let _ = write!(
        text,
        "\n## Permissions\n\nThe credentials need this policy. `mobula ebs permissions` asks AWS which \
         of it they lack, and so does `mobula doctor`.\n\n```json\n{}\n```\n\nSaved as `mobula.json`, \
         it is given to the role of the instances with\n\n```sh\naws iam put-role-policy --role-name \
         ROLE --policy-name mobula --policy-document file://mobula.json\n```\n\n",
        ebs::policy()
    );
    text.push_str("| permission | needed | essential |\n|---|---|---|\n");
    for permission in ebs::POLICY {
        let action = code(&format!("ec2:{}", permission.action));
        let essential = if permission.is_essential { "yes" } else { "no" };
        let _ = writeln!(text, "| {action} | {} | {essential} |", cell(permission.needed_for));
    }
}

/// The driver as a managed plugin: its privileges, and every setting that it declares.
fn plugin(text: &mut String, spec: &Spec) {
    let Some(config) = image::config(spec) else { return };
    let _ = write!(
        text,
        "\n## As a managed plugin\n\nThe image `mobula/{0}` (`cargo xtask plugin-image {0}`; \
         [docs/plugins.md](../plugins.md#mobulas-own-images)) asks for:\n\n| privilege | why |\n|---|---|\n",
        spec.name
    );
    let (capability, why) = image::CAPABILITY;
    let _ = writeln!(text, "| capability {} | {} |", code(capability), cell(why));
    if let Some(why) = spec.container.and_then(|container| container.devices) {
        let _ = writeln!(text, "| all devices | {} |", cell(why));
    }
    if let Some(why) = spec.container.and_then(|container| container.network) {
        let _ = writeln!(text, "| the machine's network | {} |", cell(why));
    }
    for mount in &*config.mounts {
        let source = code(mount.source.as_deref().unwrap_or_default());
        let name = &mount.name;
        let settable = if mount.settable.is_empty() {
            String::new()
        } else {
            format!(
                " Another one: {}.",
                code(&format!("docker plugin set PLUGIN {name}.source=/dir"))
            )
        };
        let _ = writeln!(text, "| mount {source} | {}{settable} |", cell(&mount.description));
    }
    text.push_str(
        "\nSettings, all of them empty at first (`docker plugin install … NAME=VALUE`, or `docker \
         plugin set` while it is disabled):\n\n| setting | meaning |\n|---|---|\n",
    );
    let (rexray, own): (Vec<_>, Vec<_>) =
        variables(spec).into_iter().partition(|variable| variable.help.starts_with("REX-Ray's"));
    for variable in own.into_iter().chain(rexray) {
        let help = image::help(spec, &variable);
        let _ = writeln!(text, "| {} | {} |", code(&variable.name), cell(&help));
    }
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
    fn every_setting_of_a_plugin_is_on_its_page() {
        for spec in ALL.into_iter().filter(|spec| spec.container.is_some()) {
            let page = page(spec);
            for variable in variables(spec) {
                assert!(page.contains(&format!("| `{}` |", variable.name)), "{page}");
            }
            assert!(page.contains("| capability `CAP_SYS_ADMIN` |"), "{page}");
        }
        assert!(!page(volume::drivers::get("memory").unwrap()).contains("managed plugin"));
    }

    #[test]
    fn every_action_of_a_driver_is_on_its_page_with_its_options() {
        for spec in ALL {
            let page = page(spec);
            assert_eq!(page.contains("\n## Actions\n"), !spec.actions.is_empty(), "{page}");
            for action in spec.actions {
                let heading = format!("\n### `mobula {} {}", spec.name, action.name);
                let (_, section) = page.split_once(&heading).expect("a section");
                let section = section.split("\n### ").next().unwrap();
                for option in action.options {
                    assert!(section.contains(&format!("| `{}` |", option.name)), "{section}");
                }
            }
        }
    }

    #[test]
    fn the_page_of_ebs_has_the_policy_and_what_each_permission_is_for() {
        let page = page(&ebs::SPEC);
        assert!(page.contains(&format!("```json\n{}\n```", ebs::policy())));
        for permission in ebs::POLICY {
            let row = format!("| `ec2:{}` | {}", permission.action, permission.needed_for);
            assert!(page.contains(&row), "{row}");
        }
        for other in ALL.into_iter().filter(|spec| spec.name != "ebs") {
            assert!(!super::page(other).contains("## Permissions"));
        }
    }

    #[test]
    fn a_default_of_the_driver_is_shown() {
        let page = page(volume::drivers::get("loop").unwrap());
        assert!(page.contains("| `size` | size | `10GiB` |"), "{page}");
    }
}
