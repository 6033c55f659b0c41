//! Instance types: how many volumes they take, and what their hypervisor is
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/volume_limits.html>). By family, roughly:
//! enough to run into every limit. Pure.

/// What an instance type can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InstanceType {
    /// `nitro` or `xen`.
    pub(crate) hypervisor: &'static str,
    /// `shared` with network interfaces, or `dedicated` to volumes.
    pub(crate) limit_type: &'static str,
    /// Volumes it takes, the root volume among them.
    pub(crate) max_volumes: usize,
    /// Network interfaces it can have.
    pub(crate) max_interfaces: usize,
}

/// Families before Nitro.
const XEN: [&str; 14] =
    ["t1", "t2", "m1", "m2", "m3", "m4", "c1", "c3", "c4", "r3", "r4", "i2", "d2", "x1"];

/// The type of this name; `None` when it can't be one.
pub(crate) fn find(name: &str) -> Option<InstanceType> {
    let (family, size) = name.split_once('.')?;
    let generation: u32 = family
        .trim_start_matches(|c: char| c.is_ascii_lowercase())
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .ok()?;
    if !is_size(size) {
        return None;
    }
    let max_interfaces = match size {
        "nano" | "micro" => 2,
        "small" | "medium" | "large" => 3,
        "xlarge" | "2xlarge" => 4,
        _ => 8,
    };
    let of = |hypervisor, limit_type, max_volumes| InstanceType {
        hypervisor,
        limit_type,
        max_volumes,
        max_interfaces,
    };
    Some(match generation {
        _ if XEN.contains(&family) => of("xen", "shared", 39),
        // Nitro shares 28 places; one network interface is always there.
        0..7 => of("nitro", "shared", 27),
        _ if matches!(size, "48xlarge" | "metal-48xl") => of("nitro", "dedicated", 128),
        _ => of("nitro", "dedicated", 32),
    })
}

fn is_size(size: &str) -> bool {
    let plain = ["nano", "micro", "small", "medium", "large", "metal"];
    plain.contains(&size)
        || size.starts_with("metal-")
        || size.strip_suffix("xlarge").is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_family_and_size() {
        assert_eq!(find("m5.large").map(|found| found.max_volumes), Some(27));
        assert_eq!(find("t2.micro").map(|found| found.hypervisor), Some("xen"));
        assert_eq!(find("m7i.large").map(|found| found.limit_type), Some("dedicated"));
        assert_eq!(find("r7iz.48xlarge").map(|found| found.max_volumes), Some(128));
        for wrong in ["m5", "m5.huge", "large", "x.large", ""] {
            assert_eq!(find(wrong), None, "{wrong}");
        }
    }
}
