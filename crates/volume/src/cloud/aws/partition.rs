//! Where AWS's endpoints are: by partition, region and FIPS.

/// The address of a service's endpoint in a region.
/// <https://docs.aws.amazon.com/general/latest/gr/rande.html>
pub(super) fn endpoint(service: &str, region: &str, fips: bool) -> String {
    let fips = if fips { "-fips" } else { "" };
    format!("https://{service}{fips}.{region}.{}", suffix(region))
}

fn suffix(region: &str) -> &'static str {
    const SUFFIXES: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("eusc-", "amazonaws.eu"),
    ];
    let known = SUFFIXES.iter().find(|(prefix, _)| region.starts_with(prefix));
    known.map_or("amazonaws.com", |(_, suffix)| suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_its_own_domain() {
        for (region, fips, expected) in [
            ("eu-central-1", false, "https://ec2.eu-central-1.amazonaws.com"),
            ("us-gov-west-1", true, "https://ec2-fips.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", false, "https://ec2.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", false, "https://ec2.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(endpoint("ec2", region, fips), expected);
        }
    }
}
