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
    /// What one should know who comes from it.
    pub(super) change: &'static str,
}

/// A key in the section of a driver.
#[derive(Debug)]
pub(super) struct DriverKey {
    pub(super) name: &'static str,
    pub(super) secret: bool,
    /// The option here, where it has another name.
    pub(super) option: Option<&'static str>,
    /// What is put behind the value.
    pub(super) suffix: &'static str,
    pub(super) change: &'static str,
}

impl DriverKey {
    /// The option here.
    pub(super) fn option(&self) -> &'static str {
        self.option.unwrap_or(self.name)
    }
}

const fn key(name: &'static str) -> DriverKey {
    DriverKey { name, secret: false, option: None, suffix: "", change: "" }
}

const fn secret(name: &'static str) -> DriverKey {
    DriverKey { secret: true, ..key(name) }
}

const EBS: &[DriverKey] = &[
    secret("accessKey"),
    secret("secretKey"),
    key("region"),
    key("endpoint"),
    key("maxRetries"),
    key("tag"),
    key("kmsKeyID"),
    key("statusMaxAttempts"),
    key("statusInitialDelay"),
    key("statusTimeout"),
    key("useLargeDeviceRange"),
    key("nvmeBinPath"),
];

const NOT_YET: &str = "Mobula has no such driver yet; the service is left out, and its volumes stay \
                       where they are.";

const fn not_yet(name: &'static str, keys: &'static [DriverKey]) -> Driver {
    Driver { name, also: &[], ours: None, section: name, keys, change: NOT_YET }
}

/// Every driver of REX-Ray 0.11.
pub(super) const ALL: &[Driver] = &[
    Driver { also: &["ec2", "aws"], ..not_yet("ebs", EBS) },
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
            option: Some("path"),
            suffix: "/mobula",
            change: "Volumes are directories below it, beside what vfs left there.",
            ..key("root")
        }],
        change: "vfs removed what was in a volume at each unmount; local keeps it. vfs' volumes are \
                 not taken over: there is nothing in them.",
    },
];

/// The driver of this name, in any case of letters.
pub(super) fn find<'a>(all: &'a [Driver], name: &str) -> Option<&'a Driver> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    all.iter().find(|driver| is(driver.name) || driver.also.iter().any(|also| is(also)))
}
