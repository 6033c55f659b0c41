//! The keys of REX-Ray 0.11 outside its drivers' sections, one entry each.

use super::keys::{Becomes, Key, PREEMPT, Takes};

const fn key(name: &'static str, takes: Takes, becomes: Becomes, change: &'static str) -> Key {
    Key { name, old: &[], takes, secret: false, becomes, change, attention: false }
}

const fn text(name: &'static str, becomes: Becomes, change: &'static str) -> Key {
    key(name, Takes::Text, becomes, change)
}

const fn switch(name: &'static str, becomes: Becomes, change: &'static str) -> Key {
    key(name, Takes::Switch, becomes, change)
}

impl Key {
    const fn old(self, old: &'static [&'static str]) -> Self {
        Self { old, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn attention(self) -> Self {
        Self { attention: true, ..self }
    }
}

/// The keys that the mapping asks for by name.
pub(super) const SERVICE: &str = "libstorage.service";
pub(super) const ROOT_PATH: &str = "libstorage.integration.volume.operations.mount.rootpath";
pub(super) const LINUX_ROOT_PATH: &str = "linux.volume.rootpath";
pub(super) const FILE_MODE: &str = "linux.volume.filemode";
pub(super) const SIZE: &str = "libstorage.integration.volume.operations.create.default.size";
pub(super) const FS_TYPE: &str = "libstorage.integration.volume.operations.create.default.fstype";
pub(super) const ENCRYPTED: &str =
    "libstorage.integration.volume.operations.create.default.encrypted";
pub(super) const LOG_LEVEL: &str = "rexray.loglevel";
pub(super) const SOCKET: &str = "csi.endpoint";
pub(super) const HOST: &str = "libstorage.host";

const TLS: &str = "Volumes are managed by the agent of their own machine; no network lies between.";
const REMOTE: &str =
    "There is no libStorage server; each machine runs its own agent on its own configuration.";
const TASKS: &str = "Every operation has a deadline and goes on when its caller has gone.";
const LOGGING: &str = "There is one log, on standard error, with one level; bodies of requests are \
                       never logged.";
const CSI: &str = "The agent speaks Docker's protocol; CSI is not there yet.";
const PROXY: &str = "The standalone agent reads it from its environment, as REX-Ray did; its service has \
                     that from /etc/mobula/mobula.env.";
const HTTP_PROXY: &str = "The standalone agent reads it from its environment, its service from \
                          /etc/mobula/mobula.env; but for https addresses, such as those of AWS, it \
                          takes HTTPS_PROXY, where REX-Ray took this one.";
const CHAIN: &str = "AWS's own variable, which driver ebs reads from the environment of the agent, as \
                     REX-Ray did: put it into /etc/mobula/mobula.env.";

use Becomes::{LogLevel, NoEquivalent, NotNeeded, NotThereYet, Structure, Volume};

/// Every key. The first entry that a key matches is it.
pub(super) const KEYS: &[Key] = &[
    text("rexray.logLevel", LogLevel, ""),
    text("libstorage.logging.level", NotNeeded, LOGGING),
    text("libstorage.logging.stdout", NotNeeded, LOGGING),
    text("libstorage.logging.stderr", NotNeeded, LOGGING),
    switch("libstorage.logging.httpRequests", NotNeeded, LOGGING),
    switch("libstorage.logging.httpResponses", NotNeeded, LOGGING),
    text(
        "libstorage.host",
        NoEquivalent,
        "Commands find the agent of their machine by its socket; there is no server on another one.",
    )
    .old(&["rexray.host"]),
    key("libstorage.service", Takes::List, Structure, "")
        .old(&["rexray.service", "rexray.storageDrivers"]),
    switch("libstorage.embedded", NotNeeded, REMOTE),
    switch("libstorage.disabled", NotNeeded, REMOTE),
    key(
        "rexray.module.startTimeout",
        Takes::Duration,
        NotNeeded,
        "Sockets listen before any back end is asked.",
    ),
    text("rexray.token.key", NotThereYet, "There is no token tool.").secret(),
    text("rexray.token.alg", NotThereYet, "There is no token tool."),
    text("rexray.token.exp", NotThereYet, "There is no token tool."),
    text(
        "rexray.docker.mount.path",
        NoEquivalent,
        "Volumes are mounted at /run/mobula/mounts/SERVICE/VOLUME.",
    ),
    text("libstorage.storage.driver", NotNeeded, REMOTE),
    text("libstorage.os.driver", NotNeeded, "There is one: Linux."),
    text("libstorage.integration.driver", NotNeeded, "There is one: Linux."),
    text("libstorage.client.type", NotNeeded, REMOTE),
    key("libstorage.client.cache.instanceID", Takes::Duration, NotNeeded, REMOTE),
    text("libstorage.client.auth.token", NotThereYet, REMOTE).secret(),
    text("libstorage.client.tls", NotNeeded, TLS),
    text("libstorage.client.tls.*", NotNeeded, TLS),
    text("libstorage.tls", NotNeeded, TLS),
    text("libstorage.tls.*", NotNeeded, TLS),
    text("libstorage.server.tls", NotNeeded, TLS),
    text("libstorage.server.tls.*", NotNeeded, TLS),
    text("libstorage.server.endpoints.*.address", NotThereYet, REMOTE),
    text("libstorage.server.endpoints.*", NotThereYet, REMOTE),
    text("libstorage.server.autoEndpointMode", NotNeeded, REMOTE),
    switch(
        "libstorage.server.parseRequestOpts",
        NotNeeded,
        "Options of docker volume create always reach the driver; one that it does not know is \
         refused.",
    ),
    key("libstorage.server.tasks.exeTimeout", Takes::Duration, NotNeeded, TASKS),
    key("libstorage.server.tasks.logTimeout", Takes::Duration, NotNeeded, TASKS),
    text("libstorage.server.auth.key", NotThereYet, REMOTE).secret(),
    text("libstorage.server.auth.alg", NotThereYet, REMOTE),
    key("libstorage.server.auth.allow", Takes::List, NotThereYet, REMOTE).secret(),
    key("libstorage.server.auth.deny", Takes::List, NotThereYet, REMOTE).secret(),
    switch("libstorage.server.auth.disabled", NotNeeded, REMOTE),
    key("auth.*", Takes::List, NotThereYet, REMOTE).secret(),
    switch("libstorage.http.disableKeepAlive", NotNeeded, REMOTE),
    key("libstorage.http.readTimeout", Takes::Duration, NotNeeded, REMOTE),
    key("libstorage.http.writeTimeout", Takes::Duration, NotNeeded, REMOTE),
    key(
        "libstorage.device.attachTimeout",
        Takes::Duration,
        NotNeeded,
        "How long a device may take follows from the deadline of the call.",
    ),
    text("libstorage.device.scanType", NotNeeded, "Devices are found by serial number, not by scanning."),
    text("libstorage.executor.path", NotNeeded, "There are no executors."),
    switch("libstorage.executor.disableDownload", NotNeeded, "There are no executors."),
    switch(
        "libstorage.integration.volume.operations.mount.preempt",
        Becomes::Switch(PREEMPT),
        "Volumes of local drivers are on this machine only, and taken from no other.",
    )
    .old(&["volume.mount.preempt"]),
    text(
        "libstorage.integration.volume.operations.mount.path",
        NoEquivalent,
        "Volumes are mounted at /run/mobula/mounts/SERVICE/VOLUME.",
    )
    .old(&["docker.mountDirPath"]),
    text("libstorage.integration.volume.operations.mount.rootPath", Volume("subPath"), ""),
    key(
        "libstorage.integration.volume.operations.mount.retryCount",
        Takes::Number,
        NoEquivalent,
        "A mount that fails is told at once; to repeat it is safe.",
    ),
    key(
        "libstorage.integration.volume.operations.mount.retryWait",
        Takes::Duration,
        NoEquivalent,
        "A mount that fails is told at once; to repeat it is safe.",
    ),
    switch(
        "libstorage.integration.volume.operations.unmount.ignoreUsedCount",
        NoEquivalent,
        "A volume is unmounted when its last user has given it back, and not before; users that \
         died without doing so are found out.",
    )
    .old(&["volume.unmount.ignoreUsedCount"])
    .attention(),
    switch(
        "libstorage.integration.volume.operations.create.disable",
        NoEquivalent,
        "docker volume create creates volumes; there is no switch against it.",
    )
    .old(&["volume.create.disable"])
    .attention(),
    switch(
        "libstorage.integration.volume.operations.remove.disable",
        NoEquivalent,
        "docker volume rm removes volumes with their data; there is no switch against it.",
    )
    .old(&["volume.remove.disable"])
    .attention(),
    switch(
        "libstorage.integration.volume.operations.remove.force",
        NoEquivalent,
        "A volume in use is not removed; mobula volume rm --force detaches it before.",
    ),
    switch(
        "libstorage.integration.volume.operations.create.implicit",
        NoEquivalent,
        "To mount a volume that is not there is an error. Docker creates it before, by itself.",
    ),
    key(
        "libstorage.integration.volume.operations.create.default.size",
        Takes::Number,
        Volume("size"),
        "",
    )
    .old(&["docker.size"]),
    text("libstorage.integration.volume.operations.create.default.fsType", Volume("fsType"), "")
        .old(&["docker.fsType", "rexray.fsType"]),
    text(
        "libstorage.integration.volume.operations.create.default.type",
        Volume("volumeType"),
        "",
    )
    .old(&["docker.volumeType"]),
    key(
        "libstorage.integration.volume.operations.create.default.IOPS",
        Takes::Number,
        Volume("iops"),
        "",
    )
    .old(&["docker.iops"]),
    text(
        "libstorage.integration.volume.operations.create.default.availabilityZone",
        Volume("availabilityZone"),
        "",
    )
    .old(&["docker.availabilityZone"]),
    switch(
        "libstorage.integration.volume.operations.create.default.encrypted",
        Volume("encrypted"),
        "",
    ),
    switch(
        "libstorage.integration.volume.operations.path.cache.enabled",
        NotNeeded,
        "Where a volume is mounted is read from memory and from the kernel's mount table.",
    )
    .old(&["volume.path.cache"]),
    switch(
        "libstorage.integration.volume.operations.path.cache.async",
        NotNeeded,
        "Where a volume is mounted is read from memory and from the kernel's mount table.",
    ),
    text("linux.volume.rootPath", Volume("subPath"), ""),
    key("linux.volume.fileMode", Takes::Mode, Volume("mode"), ""),
    text("csi.endpoint", Structure, ""),
    text("csi.driver", NotThereYet, CSI),
    text("csi.goplugins", NotThereYet, CSI),
    switch("csi.nodocker", NoEquivalent, CSI),
    switch("csi.native", NotThereYet, CSI),
    switch("docker.legacy", NotNeeded, "There is one implementation of Docker's protocol."),
    switch("rexray.debug", NotNeeded, LOGGING),
    switch("libstorage.debug", NotNeeded, LOGGING),
    text("proxy.http", NotNeeded, HTTP_PROXY).secret().attention(),
    text("proxy.https", NotNeeded, PROXY).secret(),
    text("proxy.no", NotNeeded, PROXY),
    text("aws.chain.*", NotNeeded, CHAIN).secret().attention(),
    text(
        "rexray.home",
        NotNeeded,
        "MOBULA_HOME names the directory that all paths of Mobula are below.",
    ),
    text("rexray.home.*", NotNeeded, "MOBULA_HOME names the directory that all paths of Mobula are below."),
];

/// Variables whose names do not follow from their keys'.
pub(super) const VARIABLES: &[(&str, &str)] = &[
    ("REXRAY_FSTYPE", "rexray.fstype"),
    ("REXRAY_PREEMPT", "libstorage.integration.volume.operations.mount.preempt"),
    ("DOCKER_LEGACY", "docker.legacy"),
    ("X_CSI_DRIVER", "csi.driver"),
    ("X_CSI_NATIVE", "csi.native"),
    ("X_CSI_GO_PLUGINS", "csi.goplugins"),
    ("X_CSI_NO_DOCKER", "csi.nodocker"),
    ("X_CSI_NFS_VOLUMES", "csi-nfs.volumes"),
    ("X_CSI_NFS_MOUNTDIR", "csi-nfs.mountdir"),
    ("X_CSI_NFS_NODEONLY", "csi-nfs.nodeonly"),
    ("X_CSI_NFS_CONTROLLERONLY", "csi-nfs.controlleronly"),
    ("HTTP_PROXY", "proxy.http"),
    ("HTTPS_PROXY", "proxy.https"),
    ("NO_PROXY", "proxy.no"),
    ("AWS_ACCESS_KEY_ID", "aws.chain.accesskeyid"),
    ("AWS_SECRET_ACCESS_KEY", "aws.chain.secretaccesskey"),
    ("AWS_SESSION_TOKEN", "aws.chain.sessiontoken"),
    ("AWS_PROFILE", "aws.chain.profile"),
    ("AWS_SHARED_CREDENTIALS_FILE", "aws.chain.credentialsfile"),
];
