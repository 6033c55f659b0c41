//! A driver's own action, asked for over the control API: its progress as it comes, and its report.

use super::{Client, encode};
use crate::api::{ActionLine, ActionReport, AskAction};
use error::{Error, Result};

impl Client {
    /// Has the driver of `service` do `action`; `told` hears of its progress.
    pub async fn act(
        &self,
        service: &str,
        action: &str,
        asked: &AskAction,
        mut told: impl FnMut(&str) + Send,
    ) -> Result<ActionReport> {
        let path = format!("/v1/services/{}/actions/{}", encode(service), encode(action));
        let mut last = None;
        let each = |line| match line {
            ActionLine::Progress(text) => told(&text),
            end => last = Some(end),
        };
        self.post_lines(&path, asked, each).await?;
        ended(last)
    }
}

/// What the last line says.
fn ended(last: Option<ActionLine>) -> Result<ActionReport> {
    match last {
        Some(ActionLine::Report(report)) => Ok(report),
        Some(ActionLine::Error(failed)) => Err(failed.into_error()),
        Some(ActionLine::Progress(_)) | None => Err(Error::unavailable(
            "the agent's answer broke off before the action was done; look at its log, and repeat \
             the command",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FailureInfo;
    use std::collections::BTreeMap;

    #[test]
    fn an_answer_that_breaks_off_is_no_success() {
        assert!(ended(None).is_err());
        assert!(ended(Some(ActionLine::Progress("half".to_owned()))).is_err());
    }

    #[test]
    fn an_error_at_the_end_is_that_error() {
        let failed = FailureInfo {
            kind: "not_found".to_owned(),
            message: "no such volume".to_owned(),
            context: BTreeMap::new(),
        };
        let error = ended(Some(ActionLine::Error(failed))).unwrap_err();
        assert_eq!((error.kind(), error.message()), (error::Kind::NotFound, "no such volume"));
    }
}
