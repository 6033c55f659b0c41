//! What the credentials must allow: the calls that this driver makes, on what, and why. The policy in
//! the documentation is made of this list, and so is the check of what is missing.

use super::Ebs;
use crate::cloud::aws::Form;
use crate::driver::{PERMISSION_COLUMNS, Report};
use error::Result;

/// A call that the driver makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// The action, without `ec2:`.
    pub action: &'static str,
    /// What it is allowed on: parts of ARNs; `*` for calls that only look.
    pub on: &'static [&'static str],
    /// What fails without it.
    pub needed_for: &'static str,
    /// Whether nothing at all works without it.
    pub is_essential: bool,
}

const fn essential(
    action: &'static str,
    on: &'static [&'static str],
    needed_for: &'static str,
) -> Permission {
    Permission { action, on, needed_for, is_essential: true }
}

const fn optional(
    action: &'static str,
    on: &'static [&'static str],
    needed_for: &'static str,
) -> Permission {
    Permission { action, on, needed_for, is_essential: false }
}

/// Every call that the driver makes.
pub const POLICY: [Permission; 18] = [
    essential("DescribeVolumes", &["*"], "to find volumes by name"),
    essential("DescribeInstances", &["*"], "to see what is attached, and who holds a volume"),
    essential("CreateVolume", &["volume/*", "snapshot/*"], "to create volumes"),
    essential("CreateTags", &["volume/*", "snapshot/*"], "to give volumes their names"),
    essential("DeleteVolume", &["volume/*"], "to remove volumes"),
    essential("AttachVolume", &["volume/*", "instance/*"], "to mount volumes"),
    essential("DetachVolume", &["volume/*", "instance/*"], "to unmount volumes"),
    optional("DescribeInstanceTypes", &["*"], "to know how many disks a machine can have"),
    optional("ModifyVolume", &["volume/*"], "to expand and change volumes"),
    optional("DescribeVolumesModifications", &["*"], "to expand and change volumes"),
    optional("CreateSnapshot", &["volume/*", "snapshot/*"], "to take snapshots and move volumes"),
    optional("DescribeSnapshots", &["*"], "to find snapshots by name"),
    optional("DeleteSnapshot", &["snapshot/*"], "to remove snapshots"),
    optional("CopySnapshot", &["snapshot/*"], "to copy snapshots to other regions"),
    optional("CopyVolumes", &["volume/*"], "to clone volumes"),
    optional("EnableFastSnapshotRestores", &["snapshot/*"], "for fast restores"),
    optional("DisableFastSnapshotRestores", &["snapshot/*"], "for fast restores"),
    optional("DescribeFastSnapshotRestores", &["*"], "for fast restores"),
];

/// A call that would be taken: AWS looks at the permission of one that is complete.
fn form(action: &str, zone: &str, instance: &str) -> Form {
    const VOLUME: &str = "vol-00000000000000000";
    const SNAPSHOT: &str = "snap-00000000000000000";
    let form = Form::default();
    match action {
        "CreateVolume" => form.set("AvailabilityZone", zone).set("Size", 1),
        "CreateTags" => form
            .list("ResourceId", [VOLUME])
            .set("Tag.1.Key", "mobula:check")
            .set("Tag.1.Value", ""),
        "DeleteVolume" | "CreateSnapshot" => form.set("VolumeId", VOLUME),
        "ModifyVolume" => form.set("VolumeId", VOLUME).set("Size", 1),
        "AttachVolume" => {
            form.set("VolumeId", VOLUME).set("InstanceId", instance).set("Device", "/dev/xvdcz")
        }
        "DetachVolume" => form.set("VolumeId", VOLUME).set("InstanceId", instance),
        "DeleteSnapshot" => form.set("SnapshotId", SNAPSHOT),
        "CopySnapshot" => form.set("SourceSnapshotId", SNAPSHOT).set("SourceRegion", "us-east-1"),
        "CopyVolumes" => form.set("SourceVolumeId", VOLUME),
        "EnableFastSnapshotRestores" | "DisableFastSnapshotRestores" => {
            form.list("AvailabilityZone", [zone]).list("SourceSnapshotId", [SNAPSHOT])
        }
        "DescribeVolumes" | "DescribeSnapshots" | "DescribeInstances" => form.set("MaxResults", 5),
        _ => form,
    }
}

impl Ebs {
    /// Asks AWS for each call whether it would be allowed; nothing is done.
    pub(super) async fn permissions(&self) -> Result<Report> {
        let identity = self.ec2.client().identity().await?;
        let mut rows = Vec::new();
        let mut missing = Vec::new();
        for permission in POLICY {
            let form = form(permission.action, &identity.zone, &identity.instance);
            let allowed = self.ec2.is_allowed(permission.action, form).await?;
            if !allowed {
                missing.push(format!("ec2:{}", permission.action));
            }
            rows.push(vec![
                format!("ec2:{}", permission.action),
                state(allowed, permission.is_essential).to_owned(),
                permission.needed_for.to_owned(),
            ]);
        }
        let note = match missing.is_empty() {
            true => format!(
                "instance {} in {}: the credentials allow all that is needed",
                identity.instance, identity.zone
            ),
            false => format!("add to the policy of these credentials: {}", missing.join(", ")),
        };
        let columns = PERMISSION_COLUMNS.map(str::to_owned).to_vec();
        Ok(Report { columns, rows, notes: vec![note] })
    }
}

fn state(allowed: bool, is_essential: bool) -> &'static str {
    match (allowed, is_essential) {
        (true, _) => "allowed",
        (false, false) => "missing",
        (false, true) => "MISSING",
    }
}

/// The policy as AWS takes it, in JSON.
#[must_use]
pub fn policy() -> String {
    let mut statements = Vec::new();
    let looks = |permission: &&Permission| permission.on == ["*"];
    let name = |permission: &Permission| format!("ec2:{}", permission.action);
    let looking: Vec<_> = POLICY.iter().filter(looks).map(name).collect();
    statements.push(serde_json::json!({
        "Sid": "Look", "Effect": "Allow", "Action": looking, "Resource": "*"
    }));
    let mut kinds: Vec<&[&str]> = POLICY.iter().map(|p| p.on).filter(|on| *on != ["*"]).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for on in kinds {
        let actions: Vec<_> = POLICY.iter().filter(|p| p.on == on).map(name).collect();
        let on_what: Vec<_> = on.iter().map(|what| format!("arn:aws:ec2:*:*:{what}")).collect();
        let words = on.iter().map(|what| what.trim_end_matches("/*"));
        let sid: String = words
            .map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]))
            .collect::<Vec<_>>()
            .concat();
        statements.push(serde_json::json!({
            "Sid": format!("Change{sid}"), "Effect": "Allow", "Action": actions, "Resource": on_what
        }));
    }
    let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": statements });
    serde_json::to_string_pretty(&policy).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_the_code_is_in_the_policy_and_no_other() {
        let code = include_str!("../../cloud/aws/ec2.rs");
        let quoted = code.split('"').skip(1).step_by(2);
        let verbs = [
            "Describe", "Create", "Delete", "Attach", "Detach", "Modify", "Copy", "Enable",
            "Disable",
        ];
        let is_call = |word: &&str| {
            verbs.iter().any(|verb| word.starts_with(verb) && word.len() > verb.len())
                && word.chars().all(char::is_alphanumeric)
        };
        let mut made: Vec<_> = quoted.filter(is_call).collect();
        made.sort_unstable();
        made.dedup();
        let mut allowed: Vec<_> = POLICY.iter().map(|permission| permission.action).collect();
        allowed.sort_unstable();
        assert_eq!(made, allowed);
    }

    #[test]
    fn the_policy_is_one_that_aws_takes() {
        let policy: serde_json::Value = serde_json::from_str(&policy()).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        assert!(statements.len() >= 4);
        let count: usize =
            statements.iter().map(|one| one["Action"].as_array().unwrap().len()).sum();
        assert_eq!(count, POLICY.len());
    }
}
