//! Podman finds no plugins by itself; it is told of them in `containers.conf`(5).

use error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Names that Podman keeps for drivers of its own.
const RESERVED: [&str; 2] = ["local", "image"];
/// How long Podman is to wait for a plugin, in seconds; its 5 are too few for a cloud.
const TIMEOUT: u32 = 120;

/// The text of a Podman `containers.conf` drop-in that names these sockets, by plugin name.
pub fn podman_configuration(plugins: &[(String, PathBuf)]) -> Result<String> {
    let mut text = format!(
        "# Volume plugins for Podman, written by mobula.\n\
         [engine]\nvolume_plugin_timeout = {TIMEOUT}\n\n[engine.volume_plugins]\n"
    );
    for (name, path) in plugins.iter().map(|(name, path)| (name, path)).collect::<BTreeMap<_, _>>()
    {
        let Some(path) = path.to_str().filter(|path| path.starts_with('/')) else {
            return Err(Error::invalid_argument(format!(
                "Podman cannot be told of {}: the path must be absolute and UTF-8",
                path.display()
            )));
        };
        if RESERVED.contains(&name.as_str()) {
            let _ =
                writeln!(text, "# {name} is a driver of Podman's own; give the plugin an alias");
        } else {
            let _ = writeln!(text, "{} = {}", quoted(name), quoted(path));
        }
    }
    Ok(text)
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(plugins: &[(&str, &str)]) -> Result<String> {
        let plugins: Vec<_> =
            plugins.iter().map(|(name, path)| ((*name).to_owned(), (*path).into())).collect();
        podman_configuration(&plugins)
    }

    #[test]
    fn names_and_paths_are_quoted_and_in_order() {
        let text = text(&[("v:2", "/run/v:2.sock"), ("a\"b\\\n", "/run/a b.sock")]).unwrap();
        let expected = "[engine]\nvolume_plugin_timeout = 120\n\n[engine.volume_plugins]\n\
                        \"a\\\"b\\\\\\u000A\" = \"/run/a b.sock\"\n\"v:2\" = \"/run/v:2.sock\"\n";
        assert_eq!(text.split_once('\n').unwrap().1, expected);
    }

    #[test]
    fn podmans_own_names_are_left_out_and_relative_paths_refused() {
        let text = text(&[("local", "/run/local.sock"), ("x", "/x")]).unwrap();
        assert!(!text.contains("local.sock") && text.contains("\"x\" = \"/x\""), "{text}");
        assert!(self::text(&[("x", "run/x.sock")]).is_err());
    }
}
