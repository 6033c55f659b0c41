//! GetCallerIdentity of STS.

use super::Call;
use crate::credentials::ROLE;
use crate::refusal::Answered;
use crate::xml::Xml;

pub(super) fn get_caller_identity(call: &mut Call<'_>, xml: &mut Xml) -> Answered<()> {
    call.read()?;
    let account = &call.config.account;
    let (arn, user) = match &call.caller.instance {
        Some(instance) => (
            format!("arn:aws:sts::{account}:assumed-role/{ROLE}/{instance}"),
            format!("AROAMOBULASIMULATOR:{instance}"),
        ),
        None => (format!("arn:aws:iam::{account}:user/mobula"), "AIDAMOBULASIMULATOR".to_owned()),
    };
    xml.text("Arn", arn);
    xml.text("UserId", user);
    xml.text("Account", account);
    Ok(())
}
