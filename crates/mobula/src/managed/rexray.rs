//! The names that REX-Ray's managed plugins had: what they set here, or why nothing. All of them are
//! declared, since Docker refuses a setting that is not, and with it the whole command line.

use super::variables::{Sets, Variable};
use crate::migrate::rexray::{Form, PREEMPT, Place, names};
use volume::Spec;

/// What a volume looks like as REX-Ray made it.
const VOLUME: [(&str, &str); 2] = [("subPath", "data"), ("mode", "0700")];
/// What a service does as REX-Ray did it, where the driver has such an option.
const SERVICE: [(&str, &str); 1] = [("list", "named")];

/// What `COMPAT=rexray` sets: keys with their values.
pub(super) fn compat(spec: &Spec) -> Vec<(String, &'static str)> {
    let service = SERVICE.iter().filter(|(option, _)| has_option(spec, option));
    let service = service.map(|(option, value)| (key(spec, "options", option), *value));
    let volume = VOLUME.iter().map(|(option, value)| (key(spec, "volume", option), *value));
    service.chain(volume).collect()
}

/// The same for people.
pub(super) fn compat_help(spec: &Spec) -> &'static str {
    if has_option(spec, "list") {
        "rexray: volumes look as REX-Ray's do, data in the subdirectory data of mode 0700; all that \
         have a name are listed."
    } else {
        "rexray: volumes look as REX-Ray's do, data in the subdirectory data of mode 0700."
    }
}

/// Whether a setting of this name was an address without a scheme.
pub(super) fn is_address(spec: &Spec, variable: &str) -> bool {
    names(spec.name).iter().any(|name| name.variable == variable && name.form == Form::Address)
}

/// The names that are not names of ours too.
pub(super) fn variables(spec: &Spec) -> Vec<Variable> {
    let mut all = defaults(spec);
    all.push(preempt(spec));
    all.extend(of_driver(spec));
    all.extend(without_effect());
    all
}

/// Every plugin of REX-Ray had them.
fn defaults(spec: &Spec) -> Vec<Variable> {
    let volume = [
        ("REXRAY_FSTYPE", "fsType"),
        ("LINUX_VOLUME_ROOTPATH", "subPath"),
        ("LIBSTORAGE_INTEGRATION_VOLUME_OPERATIONS_MOUNT_ROOTPATH", "subPath"),
        ("LINUX_VOLUME_FILEMODE", "mode"),
    ];
    let known = |option: &str| spec.volume_options().any(|known| known.name == option);
    let volume = volume.into_iter().filter(|(_, option)| known(option));
    let volume = volume.map(|(name, option)| of_volume(spec, name, option));
    let level = Sets::Key("log.level".to_owned());
    let level = Variable::new("REXRAY_LOGLEVEL", "REX-Ray's name of LOG_LEVEL.", level);
    std::iter::once(level).chain(volume).collect()
}

fn of_volume(spec: &Spec, name: &str, option: &str) -> Variable {
    let help = format!("REX-Ray's name of VOLUME_{}.", option.to_ascii_uppercase());
    Variable::new(name, help, Sets::Key(key(spec, "volume", option)))
}

/// Its own plugin alone had them. What is called the same here needs no second entry.
fn of_driver(spec: &Spec) -> Vec<Variable> {
    let variable = |name: crate::migrate::rexray::Name| match name.place {
        Place::Service(_) => None,
        Place::Volume(option) => Some(of_volume(spec, &name.variable, option)),
        Place::Nothing => Some(needless(&name.variable, name.change)),
    };
    names(spec.name).into_iter().filter_map(variable).collect()
}

fn preempt(spec: &Spec) -> Variable {
    const NAME: &str = "REXRAY_PREEMPT";
    if !has_option(spec, PREEMPT.option) {
        return needless(NAME, "A volume of this machine is nowhere else attached.");
    }
    let (on, off) = (PREEMPT.on, PREEMPT.off);
    let ours = format!("{}_PREEMPT", spec.name.to_ascii_uppercase());
    let help = format!(
        "REX-Ray's; true is {ours}={on}, which takes a volume only from a machine that is proved to \
         be gone, false is {ours}={off}."
    );
    Variable::new(NAME, help, Sets::Switch { key: key(spec, "options", PREEMPT.option), on, off })
}

fn without_effect() -> Vec<Variable> {
    const ONE: &str = "The plugin speaks Docker's protocol only.";
    let names = [
        ("DOCKER_LEGACY", "There is one implementation of Docker's protocol."),
        ("CSI_ENDPOINT", ONE),
        ("X_CSI_DRIVER", ONE),
        ("X_CSI_NATIVE", ONE),
    ];
    names.into_iter().map(|(name, why)| needless(name, why)).collect()
}

fn needless(name: &str, why: &'static str) -> Variable {
    Variable::new(name, format!("REX-Ray's; of no effect. {why}"), Sets::Nothing(why))
}

fn key(spec: &Spec, section: &str, option: &str) -> String {
    format!("services.{}.{section}.{option}", spec.name)
}

fn has_option(spec: &Spec, option: &str) -> bool {
    spec.service_options.iter().any(|known| known.name == option)
}
