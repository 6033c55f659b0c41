//! Reads a configuration as Go's encoding/json would: keys in any case, the last of several wins,
//! objects that come twice are merged, `null` leaves what is there (and empties lists and optional
//! values), unknown keys are skipped. The wrong type is an error that names its place.

mod json;

use super::{
    Args, Config, Device, Env, Interface, InterfaceType, Linux, List, Mount, Network, Rootfs, User,
};
use error::{Error, Result};
use json::{Json, Place, folds_to};

pub(super) fn document(bytes: &[u8]) -> Result<Config> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let json: Json = serde::Deserialize::deserialize(&mut reader).map_err(|source| {
        Error::invalid_argument("the plugin's configuration is no JSON").because(source)
    })?;
    if reader.end().is_err() {
        return Err(Error::invalid_argument(
            "invalid config json: something follows the configuration",
        ));
    }
    let mut config = Config::default();
    config.read(json, &Place::Root)?;
    Ok(config)
}

trait Read: Default {
    /// Takes over what `json` says.
    fn read(&mut self, json: Json, place: &Place<'_>) -> Result<()>;
}

impl Read for bool {
    fn read(&mut self, json: Json, place: &Place<'_>) -> Result<()> {
        match json {
            Json::Null => {}
            Json::Bool(value) => *self = value,
            _ => return Err(place.expected("true or false")),
        }
        Ok(())
    }
}

impl Read for String {
    fn read(&mut self, json: Json, place: &Place<'_>) -> Result<()> {
        match json {
            Json::Null => {}
            // No path, argument or variable of Linux can have one.
            Json::String(text) if text.contains('\0') => {
                return Err(place.expected("a string without NUL characters"));
            }
            Json::String(text) => *self = text,
            _ => return Err(place.expected("a string")),
        }
        Ok(())
    }
}

impl Read for u32 {
    fn read(&mut self, json: Json, place: &Place<'_>) -> Result<()> {
        match json {
            Json::Null => {}
            Json::Number(number) => {
                *self = u32::try_from(number)
                    .map_err(|_| place.expected("a whole number from 0 to 4294967295"))?;
            }
            _ => return Err(place.expected("a whole number")),
        }
        Ok(())
    }
}

impl Read for InterfaceType {
    fn read(&mut self, json: Json, place: &Place<'_>) -> Result<()> {
        match json {
            Json::Null => {}
            Json::String(text) => *self = Self::parse(&text),
            _ => return Err(place.expected("a string like docker.volumedriver/1.0")),
        }
        Ok(())
    }
}

impl<T: Read> Read for Option<T> {
    fn read(&mut self, json: Json, place: &Place<'_>) -> Result<()> {
        if matches!(json, Json::Null) {
            *self = None;
            return Ok(());
        }
        self.get_or_insert_default().read(json, place)
    }
}

impl<T: Read + Named> Read for List<T> {
    fn read(&mut self, json: Json, place: &Place<'_>) -> Result<()> {
        *self = match json {
            Json::Null => Self::default(),
            Json::List(items) => {
                let read = |(index, json)| {
                    let mut item = T::default();
                    item.read(json, &Place::Item(place, index)).map(|()| item)
                };
                items.into_iter().enumerate().map(read).collect::<Result<Self>>()?
            }
            _ => return Err(place.expected(&format!("a list of {}", T::MANY))),
        };
        Ok(())
    }
}

/// What can be in a list.
trait Named {
    /// What several are called.
    const MANY: &'static str;
}

macro_rules! many {
    ($($type:ident $name:literal),*) => {
        $(impl Named for $type { const MANY: &'static str = $name; })*
    };
}

many!(String "strings", InterfaceType "strings", Mount "objects", Env "objects", Device "objects");

macro_rules! objects {
    ($($type:ident { $($key:literal $field:ident)* })*) => {
        $(impl Read for $type {
            fn read(&mut self, json: Json, place: &Place<'_>) -> Result<()> {
                let entries = match json {
                    Json::Null => return Ok(()),
                    Json::Object(entries) => entries,
                    _ => return Err(place.expected("an object")),
                };
                for (key, value) in entries {
                    $(if folds_to(&key, $key) {
                        self.$field.read(value, &Place::Entry(place, &key))?;
                        continue;
                    })*
                }
                Ok(())
            }
        })*
    };
}

objects! {
    Config {
        "args" args
        "description" description
        "dockerversion" docker_version
        "documentation" documentation
        "entrypoint" entrypoint
        "env" env
        "interface" interface
        "ipchost" ipc_host
        "linux" linux
        "mounts" mounts
        "network" network
        "pidhost" pid_host
        "propagatedmount" propagated_mount
        "user" user
        "workdir" work_dir
        "rootfs" rootfs
    }
    Args { "description" description "name" name "settable" settable "value" value }
    Env { "description" description "name" name "settable" settable "value" value }
    Interface { "protocolscheme" protocol_scheme "socket" socket "types" types }
    Linux { "allowalldevices" allow_all_devices "capabilities" capabilities "devices" devices }
    Device { "description" description "name" name "path" path "settable" settable }
    Mount {
        "description" description
        "destination" destination
        "name" name
        "options" options
        "settable" settable
        "source" source
        "type" kind
    }
    Network { "type" kind }
    User { "gid" gid "uid" uid }
    Rootfs { "diff_ids" diff_ids "type" kind }
}
