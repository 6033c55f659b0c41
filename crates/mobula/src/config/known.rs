//! Every key of the configuration, as data: documentation, the schema for editors and the checks all
//! follow from it.

use super::Log;

/// What a key's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A path on this machine.
    Path,
    /// `true` or `false`.
    Bool,
    /// A whole number, at least this.
    Number(u32),
    /// A size such as `10GiB`.
    Size,
    /// A list of words; in a variable or flag with commas between them.
    List,
    /// The name of a driver.
    Driver,
    /// An option of the service's driver.
    ServiceOption,
    /// An option of the volumes of that driver.
    VolumeOption,
}

/// A configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its path, with `NAME` and `OPTION` for what users choose.
    pub name: &'static str,
    /// What is in effect when nothing is said.
    pub default: &'static str,
    /// Its flag of `mobula start`, beside `--set`.
    pub flag: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// What its value is.
    pub kind: Kind,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key { name, default, flag: "", help, kind }
}

/// Every key.
pub const KEYS: [Key; 25] = [
    Key {
        flag: "--log-level",
        ..key(
            "log.level",
            Kind::Choice(&Log::LEVELS),
            "info",
            "What is logged: error, warn, info, debug or trace.",
        )
    },
    Key {
        flag: "--log-format",
        ..key(
            "log.format",
            Kind::Choice(&["text", "json"]),
            "text",
            "How a log line looks: text or json.",
        )
    },
    key("services.NAME.driver", Kind::Driver, "", "The driver of the service NAME; needed."),
    key(
        "services.NAME.options.OPTION",
        Kind::ServiceOption,
        "",
        "An option of that driver; [its page](drivers/README.md) has them.",
    ),
    key(
        "services.NAME.volume.OPTION",
        Kind::VolumeOption,
        "",
        "A volume option for volumes whose creator says nothing else.",
    ),
    key(
        "docker.NAME.service",
        Kind::Text,
        "the service called NAME",
        "The service whose volumes Docker knows as driver NAME.",
    ),
    key(
        "docker.NAME.listen",
        Kind::Text,
        "unix:///run/docker/plugins/NAME.sock",
        "Where Docker reaches the plugin: unix:///PATH or tcp://IP:PORT.",
    ),
    key(
        "docker.NAME.tls.cert",
        Kind::Path,
        "",
        "The certificate chain of a TCP listener, as a PEM file.",
    ),
    key("docker.NAME.tls.key", Kind::Path, "", "The private key of that certificate."),
    key(
        "docker.NAME.tls.clientCa",
        Kind::Path,
        "",
        "The authority whose clients are let in. Without it, whoever reaches the port is.",
    ),
    key("docker.NAME.tls.ca", Kind::Path, "", "The authority that signed `cert`, told to Docker."),
    key(
        "docker.NAME.tls.clientCert",
        Kind::Path,
        "",
        "The certificate that Docker shall show, told to it.",
    ),
    key("docker.NAME.tls.clientKey", Kind::Path, "", "The key of that certificate."),
    key(
        "engine.socket",
        Kind::Path,
        "/run/mobula/engine.sock",
        "Where the plugin engine's API listens.",
    ),
    key(
        "engine.runtime",
        Kind::Text,
        "builtin",
        "What makes the containers of plugins: builtin, or the path of a program with runc's \
         command line.",
    ),
    key(
        "engine.insecureRegistries",
        Kind::List,
        "",
        "Registries that may be talked to over plain HTTP: a list of HOST:PORT or CIDR ranges, with \
         commas in a variable or flag. Loopback always may.",
    ),
    key(
        "engine.certificates",
        Kind::Path,
        "",
        "A PEM file of certificates to trust when talking to registries, beside the system's.",
    ),
    key(
        "engine.publish",
        Kind::Bool,
        "true",
        "Whether enabled plugins get a socket where Docker and Podman look for plugins.",
    ),
    key(
        "engine.startTimeout",
        Kind::Number(1),
        "10",
        "Seconds that a plugin may take to accept connections.",
    ),
    key(
        "engine.stopTimeout",
        Kind::Number(1),
        "10",
        "Seconds that a plugin may take to end after SIGTERM.",
    ),
    key(
        "engine.restarts",
        Kind::Number(0),
        "5",
        "Starts in a row that may fail before a plugin is left alone for a minute at a time.",
    ),
    key(
        "engine.logSize",
        Kind::Size,
        "8MiB",
        "Size of one of the two files that a plugin's output is kept in.",
    ),
    key("engine.maxBytes", Kind::Size, "16GiB", "How much may come out of a plugin's layers."),
    key(
        "engine.maxEntries",
        Kind::Number(1),
        "1000000",
        "Files and directories that may come out of a plugin's layers.",
    ),
    key(
        "engine.maxRatio",
        Kind::Number(1),
        "200",
        "Unpacked bytes that may come out of a packed one.",
    ),
];

impl Key {
    /// The parts of its path.
    pub fn parts(&self) -> impl Iterator<Item = &'static str> {
        self.name.split('.')
    }

    /// Whether `path` is, or leads to, what this key names.
    fn begins_with(&self, path: &[&str]) -> bool {
        let mut parts = self.parts();
        path.iter().all(|given| parts.next().is_some_and(|part| is_free(part) || part == *given))
    }
}

/// Whether users choose what stands in this part's place.
pub(super) fn is_free(part: &str) -> bool {
    matches!(part, "NAME" | "OPTION")
}

/// The keys at or below `path`.
pub(super) fn below<'a>(path: &'a [&'a str]) -> impl Iterator<Item = &'static Key> + 'a {
    KEYS.iter().filter(move |key| key.begins_with(path))
}
