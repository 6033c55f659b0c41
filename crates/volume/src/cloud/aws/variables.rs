//! The variables of the environment by which AWS's own tools are told who calls: for whoever runs
//! the driver where no environment is handed on unless it is declared, as in a managed plugin.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html>

use crate::driver::Variable;

/// Every one that makes a difference here.
pub const VARIABLES: [Variable; 15] = [
    secret("AWS_ACCESS_KEY_ID", "Access key ID, instead of the instance's role."),
    secret("AWS_SECRET_ACCESS_KEY", "Secret access key that belongs to AWS_ACCESS_KEY_ID."),
    secret("AWS_SESSION_TOKEN", "Session token of temporary keys."),
    region("AWS_DEFAULT_REGION", "Region; AWS_REGION counts before it."),
    region("AWS_REGION", "Region; by default the machine's."),
    plain("AWS_PROFILE", "Profile of the shared files (default: the one called default)."),
    plain("AWS_CONFIG_FILE", "Shared file of profiles, as the driver sees it."),
    plain("AWS_SHARED_CREDENTIALS_FILE", "Shared file of credentials, as the driver sees it."),
    plain("AWS_ROLE_ARN", "Role that is taken on with the token of a web identity."),
    plain("AWS_ROLE_SESSION_NAME", "Name of the session with that role."),
    plain("AWS_WEB_IDENTITY_TOKEN_FILE", "File with that token, as the driver sees it."),
    plain("AWS_CONTAINER_CREDENTIALS_FULL_URI", "Address that gives credentials to containers."),
    secret("AWS_CONTAINER_AUTHORIZATION_TOKEN", "What that address wants to be shown."),
    plain("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "File with the same, as the driver sees it."),
    plain("AWS_EC2_METADATA_DISABLED", "true: the instance's role is not asked for."),
];

const fn plain(name: &'static str, help: &'static str) -> Variable {
    Variable { name, help, secret: false, option: None }
}

const fn secret(name: &'static str, help: &'static str) -> Variable {
    Variable { secret: true, ..plain(name, help) }
}

const fn region(name: &'static str, help: &'static str) -> Variable {
    Variable { option: Some("region"), ..plain(name, help) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::ebs::SPEC;

    #[test]
    fn a_variable_is_named_once_and_stands_for_an_option_that_is_there() {
        for (index, variable) in VARIABLES.iter().enumerate() {
            assert!(VARIABLES[..index].iter().all(|before| before.name != variable.name));
            let is_there = |name| SPEC.service_options.iter().any(|option| option.name == name);
            assert!(variable.option.is_none_or(is_there), "{}", variable.name);
        }
    }
}
