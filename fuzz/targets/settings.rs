//! `KEY=VALUE` items for any plugin (crate `plugin`, `settings`): all or none, only what the author
//! allows, the same again changes nothing, and what a secret is never shows. The first line is the
//! plugin's configuration, each further one an item.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plugin::config::Config;
use plugin::settings::{Overrides, REDACTED, Settings, Value};

fuzz_target!(|text: &str| {
    let (config, items) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(config) = Config::decode(config.as_bytes()) else { return };
    let items: Vec<String> = items.split('\n').map(str::to_owned).collect();
    let mut each = Overrides::default();
    for item in &items {
        let before = each.clone();
        if each.set(&config, std::slice::from_ref(item)).is_err() {
            assert_eq!(each, before, "{item}");
        }
        assert_sound(&config, &each);
    }
    let mut all = Overrides::default();
    if all.set(&config, &items).is_err() {
        assert_eq!(all, Overrides::default());
        return;
    }
    assert_eq!(all, each);
    all.set(&config, &items).expect("what was set once is set again");
    assert_eq!(all, each);
});

fn assert_sound(config: &Config, overrides: &Overrides) {
    let (carried, lost) = overrides.carried_to(config);
    assert_eq!((&carried, lost.len()), (overrides, 0), "{lost:?}");
    let (none, lost) = overrides.carried_to(&Config::default());
    assert_eq!(none, Overrides::default());
    assert_eq!(lost.is_empty(), *overrides == Overrides::default());
    let json = serde_json::to_vec(overrides).expect("write overrides");
    assert_eq!(serde_json::from_slice::<Overrides>(&json).expect("read overrides"), *overrides);
    let shown = Settings::shown(config, overrides);
    for variable in &overrides.env {
        let value = match &variable.value {
            Value::Literal(text) => text,
            Value::Secret(_) => REDACTED,
        };
        assert!(shown.env.contains(&format!("{}={value}", variable.name)), "{variable:?}");
    }
    assert_eq!(shown.mounts.len(), config.mounts.len());
    assert_eq!(shown.devices.len(), config.linux.devices.len());
}
