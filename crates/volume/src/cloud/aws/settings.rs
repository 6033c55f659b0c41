//! What an account is used with; everything may be left to the machine.

use super::patience::Patience;
use std::fmt;

/// How to reach an account. `None` means: find out, as AWS's own tools do.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Region, such as `eu-central-1`; else that of the environment, or of the machine.
    pub region: Option<String>,
    /// Availability zone of this machine; else asked of the instance metadata service.
    pub zone: Option<String>,
    /// Instance ID of this machine; else asked of the instance metadata service.
    pub instance: Option<String>,
    /// Where the EC2 API is, instead of AWS's own address for the region.
    pub endpoint: Option<String>,
    /// Where the instance metadata service is, instead of 169.254.169.254.
    pub metadata: Option<String>,
    /// Profile of the shared configuration files.
    pub profile: Option<String>,
    /// Access key ID; with the secret, instead of the chain of credentials.
    pub access_key: Option<String>,
    /// Secret access key.
    pub secret_key: Option<String>,
    /// Session token that belongs to a temporary pair of keys.
    pub session_token: Option<String>,
    /// Endpoints validated under FIPS 140.
    pub fips: bool,
    /// How long AWS is waited for.
    pub patience: Patience,
}

/// No secret is shown.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("region", &self.region)
            .field("zone", &self.zone)
            .field("instance", &self.instance)
            .field("endpoint", &self.endpoint)
            .field("metadata", &self.metadata)
            .field("profile", &self.profile)
            .field("fips", &self.fips)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_show_no_secret() {
        let secret = || Some("hunter2".to_owned());
        let settings = Settings {
            access_key: secret(),
            secret_key: secret(),
            session_token: secret(),
            ..Settings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
