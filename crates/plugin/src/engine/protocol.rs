//! What clients speak with a plugin, which decides how its socket is published.

use crate::config::{Config, InterfaceType};

/// What is spoken at a published socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Docker's calls: the engine answers them.
    Calls,
    /// Something between the plugin and its clients: bytes are handed to and fro.
    Own,
    /// Either: gRPC is handed on (CSI), and whoever does not speak it makes calls.
    Both,
}

impl Protocol {
    /// By the protocol scheme, which is of all of a plugin's types, and by the types: those of CSI
    /// are gRPC.
    pub(super) fn of(config: &Config) -> Self {
        let is_csi = |kind: &InterfaceType| kind.is("csinode") || kind.is("csicontroller");
        let types = &config.interface.types;
        if !config.interface.takes_calls() {
            Self::Own
        } else if !types.iter().any(is_csi) {
            Self::Calls
        } else if types.iter().all(is_csi) {
            Self::Own
        } else {
            Self::Both
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_decides_for_all_types_and_csi_for_itself() {
        let (volume, node, controller) =
            ("docker.volumedriver/1.0", "docker.csinode/1.0", "docker.CSIController/1.1");
        let http = "moby.plugins.http/v1";
        let cases: [(&str, &[&str], Protocol); 9] = [
            ("", &[volume], Protocol::Calls),
            (http, &[volume, "docker.authz/1.0"], Protocol::Calls),
            ("", &[], Protocol::Calls),
            ("", &["acme.csinode/1.0"], Protocol::Calls),
            ("", &[node, controller], Protocol::Own),
            (http, &[node], Protocol::Own),
            ("", &[volume, node], Protocol::Both),
            ("moby.plugins.http/v2", &[volume], Protocol::Own),
            ("acme.stream/v1", &[volume, node], Protocol::Own),
        ];
        for (scheme, types, expected) in cases {
            let mut config = Config::default();
            config.interface.protocol_scheme = scheme.to_owned();
            config.interface.types = types.iter().map(|kind| InterfaceType::parse(kind)).collect();
            assert_eq!(Protocol::of(&config), expected, "{scheme} {types:?}");
        }
    }
}
