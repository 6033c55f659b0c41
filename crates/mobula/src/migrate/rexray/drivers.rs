//! REX-Ray's drivers as data: their names, their keys, and what they are here. A driver that lands
//! here gets its name in `ours`; options that are called as in REX-Ray need nothing more.

/// A driver of REX-Ray.
#[derive(Debug, Clone)]
pub(super) struct Driver {
    pub(super) name: &'static str,
    /// Other names of it, as driver and as section.
    pub(super) also: &'static [&'static str],
    /// The driver here that takes its place.
    pub(super) ours: Option<&'static str>,
    /// The section that its keys are in.
    pub(super) section: &'static str,
    pub(super) keys: &'static [DriverKey],
    /// How its services behaved without a setting, where ours have an option for that.
    pub(super) behaviours: &'static [Behaviour],
    /// What one should know who comes from it.
    pub(super) change: &'static str,
}

/// Something that a driver of REX-Ray always did.
#[derive(Debug)]
pub(super) struct Behaviour {
    /// In words.
    pub(super) was: &'static str,
    /// The option of a service that makes ours do it.
    pub(super) option: &'static str,
    pub(super) value: &'static str,
}

/// A key in the section of a driver.
#[derive(Debug)]
pub(super) struct DriverKey {
    pub(super) name: &'static str,
    pub(super) secret: bool,
    pub(super) place: Place,
    pub(super) form: Form,
    /// What changes; of one that becomes nothing, why none is needed.
    pub(super) change: &'static str,
}

/// Where the value of a driver's key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into this option of the service.
    Service(&'static str),
    /// Into the defaults of its volumes, under this option.
    Volume(&'static str),
    /// Nowhere.
    Nothing,
}

/// How a value is written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it was.
    Same,
    /// A directory below it.
    Below(&'static str),
    /// An address, which REX-Ray took without a scheme.
    Address,
}

impl Form {
    /// The value as it is written here.
    pub(crate) fn of(self, text: &str) -> String {
        match self {
            Self::Below(suffix) => format!("{}{suffix}", text.trim_end_matches('/')),
            Self::Address if !text.contains("://") => format!("https://{text}"),
            Self::Same | Self::Address => text.to_owned(),
        }
    }
}

const fn key(name: &'static str) -> DriverKey {
    DriverKey { name, secret: false, place: Place::Service(name), form: Form::Same, change: "" }
}

/// A key that nothing becomes of, and why.
const fn needless(name: &'static str, why: &'static str) -> DriverKey {
    DriverKey { place: Place::Nothing, change: why, ..key(name) }
}

const fn secret(name: &'static str) -> DriverKey {
    DriverKey { secret: true, ..key(name) }
}

const WAITS: &str = "How long a call to AWS is repeated and waited for follows from its deadline.";
const DEVICES: &str = "Disks are found by the ID of their volume, not by a letter, and no other \
                       program is asked.";

const EBS: &[DriverKey] = &[
    secret("accessKey"),
    secret("secretKey"),
    key("region"),
    DriverKey { form: Form::Address, ..key("endpoint") },
    needless("maxRetries", WAITS),
    DriverKey {
        change: "REX-Ray put it before a name at creation only; here it belongs to the name in look-ups \
                 too: what is TAG/pg at AWS is pg, and volumes without it are not seen.",
        ..key("tag")
    },
    DriverKey {
        place: Place::Volume("encryptionKey"),
        change: "Every new volume is encrypted with it; with REX-Ray only those that were to be \
                 encrypted.",
        ..key("kmsKeyID")
    },
    needless("statusMaxAttempts", WAITS),
    needless("statusInitialDelay", WAITS),
    needless("statusTimeout", WAITS),
    needless("useLargeDeviceRange", DEVICES),
    needless("nvmeBinPath", DEVICES),
];

const NOT_YET: &str = "Mobula has no such driver yet; the service is left out, and its volumes stay \
                       where they are.";

const fn not_yet(name: &'static str, keys: &'static [DriverKey]) -> Driver {
    Driver { name, also: &[], ours: None, section: name, keys, behaviours: &[], change: NOT_YET }
}

/// Every driver of REX-Ray 0.11.
pub(super) const ALL: &[Driver] = &[
    Driver {
        name: "ebs",
        also: &["ec2", "aws"],
        ours: Some("ebs"),
        section: "ebs",
        keys: EBS,
        behaviours: &[Behaviour {
            was: "every volume with a name is listed",
            option: "list",
            value: "named",
        }],
        change: "Volumes are looked up in the whole region; REX-Ray saw one zone only, and made a \
                 second volume of the name in another one.",
    },
    not_yet(
        "efs",
        &[
            secret("accessKey"),
            secret("secretKey"),
            key("region"),
            key("securityGroups"),
            key("endpoint"),
            key("endpointFormat"),
            key("tag"),
            key("disableSessionCache"),
            key("statusMaxAttempts"),
            key("statusInitialDelay"),
            key("statusTimeout"),
        ],
    ),
    not_yet(
        "s3fs",
        &[
            secret("accessKey"),
            secret("secretKey"),
            key("region"),
            key("endpoint"),
            key("cmd"),
            // May hold the path of a password file, or a password.
            secret("options"),
            key("hostName"),
            key("tag"),
            key("maxRetries"),
            key("disablePathStyle"),
        ],
    ),
    not_yet(
        "gcepd",
        &[
            key("keyfile"),
            key("zone"),
            key("defaultDiskType"),
            key("tag"),
            key("statusMaxAttempts"),
            key("statusInitialDelay"),
            key("statusTimeout"),
            key("convertUnderscores"),
        ],
    ),
    Driver {
        change: "Microsoft retired the unmanaged disks that this driver is for on 2025-09-30; the \
                 service is left out.",
        ..not_yet(
            "azureud",
            &[
                key("subscriptionID"),
                key("resourceGroup"),
                key("tenantID"),
                key("storageAccount"),
                secret("storageAccessKey"),
                key("clientID"),
                secret("clientSecret"),
                key("certPath"),
                key("container"),
                key("useHTTPS"),
                key("tag"),
            ],
        )
    },
    not_yet(
        "cinder",
        &[
            key("authURL"),
            key("userID"),
            key("userName"),
            secret("password"),
            secret("tokenID"),
            key("trustID"),
            key("tenantID"),
            key("tenantName"),
            key("domainID"),
            key("domainName"),
            key("regionName"),
            key("availabilityZoneName"),
            key("attachTimeout"),
            key("createTimeout"),
            key("deleteTimeout"),
            key("snapshotTimeout"),
            key("CACert"),
            key("insecure"),
        ],
    ),
    not_yet(
        "dobs",
        &[
            secret("token"),
            key("region"),
            key("statusMaxAttempts"),
            key("statusInitialDelay"),
            key("statusTimeout"),
            key("convertUnderscores"),
        ],
    ),
    not_yet(
        "rbd",
        // Arguments for ceph may hold a key.
        &[key("defaultPool"), key("testModule"), secret("cephArgs")],
    ),
    not_yet(
        "scaleio",
        &[
            key("endpoint"),
            key("insecure"),
            key("useCerts"),
            key("userID"),
            key("userName"),
            secret("password"),
            key("systemID"),
            key("systemName"),
            key("protectionDomainID"),
            key("protectionDomainName"),
            key("storagePoolID"),
            key("storagePoolName"),
            key("thinOrThick"),
            key("version"),
            key("apiVersion"),
            key("guid"),
            key("drvCfg"),
        ],
    ),
    not_yet(
        "isilon",
        &[
            key("endpoint"),
            key("insecure"),
            key("userName"),
            key("group"),
            secret("password"),
            key("volumePath"),
            key("nfsHost"),
            key("dataSubnet"),
            key("quotas"),
            key("sharedMounts"),
        ],
    ),
    Driver {
        section: "ebs",
        change: "The maker of its agent is gone; the volumes themselves are EBS volumes. The \
                 service is left out.",
        ..not_yet("fittedcloud", EBS)
    },
    not_yet(
        "virtualbox",
        &[
            key("endpoint"),
            key("userName"),
            secret("password"),
            key("tls"),
            key("volumePath"),
            key("controllerName"),
            key("localMachineNameOrId"),
            key("diskIDPath"),
            key("scsiHostPath"),
        ],
    ),
    not_yet("csi-nfs", &[key("volumes"), key("mountDir"), key("nodeOnly"), key("controllerOnly")]),
    Driver {
        name: "vfs",
        also: &[],
        ours: Some("local"),
        section: "vfs",
        keys: &[DriverKey {
            place: Place::Service("path"),
            form: Form::Below("/mobula"),
            change: "Volumes are directories below it, beside what vfs left there.",
            ..key("root")
        }],
        behaviours: &[],
        change: "vfs removed what was in a volume at each unmount; local keeps it. vfs' volumes are \
                 not taken over: there is nothing in them.",
    },
];

/// The driver of this name, in any case of letters.
pub(super) fn find<'a>(all: &'a [Driver], name: &str) -> Option<&'a Driver> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    all.iter().find(|driver| is(driver.name) || driver.also.iter().any(|also| is(also)))
}
