//! Who calls: the account's own key, and keys that instances got from their metadata, which have a
//! session token and an end. And the check of a whole request, with the codes that EC2 and STS use.

use crate::config::Config;
use crate::refusal::{Answered, Refusal};
use crate::signing::{Authorization, Signed};
use crate::timestamp;
use std::collections::BTreeMap;

/// How far the caller's clock may be off, in milliseconds.
const SKEW: u64 = 5 * 60 * 1000;
/// How long handed out credentials last, and how long before their end there are new ones.
const LASTS: u64 = 6 * 60 * 60 * 1000;
const EARLY: u64 = 5 * 60 * 1000;
/// The role that every instance has.
pub(crate) const ROLE: &str = "mobula-simulator";

/// Credentials that an instance got.
#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) token: String,
    pub(crate) instance: String,
    pub(crate) issued: u64,
    pub(crate) expires: u64,
}

/// All credentials that were handed out.
#[derive(Debug, Default)]
pub(crate) struct Issued(BTreeMap<String, Issue>);

/// Who calls, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) access_key: String,
    /// The instance whose credentials they are, if they are of one.
    pub(crate) instance: Option<String>,
    pub(crate) region: String,
    pub(crate) sts: bool,
}

impl Issued {
    /// The credentials of an instance: the last ones, or new ones when these end soon.
    pub(crate) fn of(&mut self, instance: &str, now: u64) -> Issue {
        let valid = |issue: &&Issue| issue.instance == instance && issue.expires > now + EARLY;
        if let Some(found) = self.0.values().find(valid) {
            return found.clone();
        }
        let random = || uuid::Uuid::new_v4().simple().to_string();
        let issue = Issue {
            access_key: format!("ASIA{}", random()[..16].to_uppercase()),
            secret_key: format!("{}/{}", random(), &random()[..7]),
            token: format!("{}{}==", random(), random()),
            instance: instance.to_owned(),
            issued: now,
            expires: now + LASTS,
        };
        self.0.insert(issue.access_key.clone(), issue.clone());
        issue
    }

    /// They end now.
    pub(crate) fn expire(&mut self, access_key: &str) {
        if let Some(issue) = self.0.get_mut(access_key) {
            issue.expires = 0;
        }
    }

    /// Checks a request in full; `clock` is the cloud's.
    pub(crate) fn check(
        &self,
        request: &Signed<'_>,
        config: &Config,
        clock: u64,
    ) -> Answered<Caller> {
        let header = request.header("authorization").ok_or_else(|| {
            Refusal::new(
                403,
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            )
        })?;
        let by = Authorization::parse(&header)
            .map_err(|why| Refusal::client("IncompleteSignature", why))?;
        let sts = by.service == "sts";
        let refuse = if sts { of_sts } else { of_ec2 };
        let (secret, issue) = self.secret_of(&by, config).ok_or_else(|| refuse(Wrong::Key))?;
        check_scope(&by)?;
        if let Some(name) = request.unsigned_header(&by) {
            let what = format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.");
            return Err(Refusal::client("IncompleteSignature", what));
        }
        let date = check_date(request, &by)?;
        if request.signature(&by, &secret, &date.1) != by.signature {
            return Err(refuse(Wrong::Signature));
        }
        if date.0.abs_diff(clock) > SKEW {
            return Err(refuse(Wrong::Clock));
        }
        match issue {
            Some(issue) => {
                if request.header("x-amz-security-token").as_deref() != Some(&issue.token) {
                    return Err(refuse(Wrong::Token));
                }
                if issue.expires <= clock {
                    return Err(refuse(Wrong::Expired));
                }
            }
            None if request.header("x-amz-security-token").is_some() => {
                return Err(refuse(Wrong::Token));
            }
            None => {}
        }
        let instance = issue.map(|issue| issue.instance.clone());
        Ok(Caller { access_key: by.access_key, instance, region: by.region, sts })
    }

    fn secret_of(&self, by: &Authorization, config: &Config) -> Option<(String, Option<&Issue>)> {
        let own = &config.credentials;
        if by.access_key == own.access_key {
            return Some((own.secret_key.clone(), None));
        }
        let issue = self.0.get(&by.access_key)?;
        Some((issue.secret_key.clone(), Some(issue)))
    }
}

fn check_scope(by: &Authorization) -> Answered<()> {
    if !matches!(by.service.as_str(), "ec2" | "sts") {
        let what = "Credential should be scoped to correct service: 'ec2'.";
        return Err(Refusal::new(403, "SignatureDoesNotMatch", what));
    }
    let parts: Vec<_> = by.region.split('-').collect();
    let is_region = parts.len() >= 3
        && parts
            .iter()
            .all(|part| part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
        && parts.last().is_some_and(|last| last.parse::<u8>().is_ok());
    match is_region {
        true => Ok(()),
        false => {
            let what = "Credential should be scoped to a valid region.";
            Err(Refusal::new(403, "SignatureDoesNotMatch", what))
        }
    }
}

/// When the request was made, which must be on the day of its scope.
fn check_date(request: &Signed<'_>, by: &Authorization) -> Answered<(u64, String)> {
    let wrong =
        || Refusal::client("IncompleteSignature", "Date must be in ISO-8601 'basic format'");
    let date = request.header("x-amz-date").ok_or_else(wrong)?;
    let moment = timestamp::parse_basic(&date).ok_or_else(wrong)?;
    match date.starts_with(&by.date) {
        true => Ok((moment, date)),
        false => Err(Refusal::new(
            403,
            "SignatureDoesNotMatch",
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
             HTTP",
        )),
    }
}

#[derive(Clone, Copy)]
enum Wrong {
    Key,
    Signature,
    Clock,
    Token,
    Expired,
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you \
                        provided. Check your AWS Secret Access Key and signing method.";

fn of_ec2(wrong: Wrong) -> Refusal {
    let unknown = "AWS was not able to validate the provided access credentials";
    match wrong {
        Wrong::Key | Wrong::Token => Refusal::new(401, "AuthFailure", unknown),
        Wrong::Signature => Refusal::new(403, "SignatureDoesNotMatch", MISMATCH),
        Wrong::Clock | Wrong::Expired => Refusal::client("RequestExpired", "Request has expired."),
    }
}

fn of_sts(wrong: Wrong) -> Refusal {
    let invalid = "The security token included in the request is invalid.";
    match wrong {
        Wrong::Key | Wrong::Token => Refusal::new(403, "InvalidClientTokenId", invalid),
        Wrong::Signature => Refusal::new(403, "SignatureDoesNotMatch", MISMATCH),
        Wrong::Clock => {
            let what = "Signature expired, or not yet current: check your clock";
            Refusal::new(403, "SignatureDoesNotMatch", what)
        }
        Wrong::Expired => {
            let what = "The security token included in the request is expired";
            Refusal::new(403, "ExpiredToken", what)
        }
    }
}
