//! What a check has found.

use serde::Serialize;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it must be.
    Ok,
    /// It could not be found out.
    Unknown,
    /// It works, but not as well as it could, or not for long.
    Warning,
    /// Something does not work.
    Problem,
}

impl Status {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The name of the check; never changes.
    pub check: &'static str,
    /// How it stands.
    pub status: Status,
    /// What was looked at.
    pub looked_at: String,
    /// What was found there.
    pub found: String,
    /// Why it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The command, or the step, that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// What `--fix` did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mended: Option<String>,
}

impl Finding {
    fn new(
        check: &'static str,
        status: Status,
        looked_at: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let (looked_at, found) = (looked_at.into(), found.into());
        Self { check, status, looked_at, found, why: None, mend: None, mended: None }
    }

    /// As it must be.
    pub fn ok(check: &'static str, looked_at: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, looked_at, found)
    }

    /// It could not be found out.
    pub fn unknown(
        check: &'static str,
        looked_at: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::new(check, Status::Unknown, looked_at, found)
    }

    /// Only root may look.
    pub fn needs_root(check: &'static str, looked_at: impl Into<String>) -> Self {
        Self::unknown(check, looked_at, "needs root").mend("sudo mobula doctor")
    }

    /// Not as good as it could be.
    pub fn warning(
        check: &'static str,
        looked_at: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::new(check, Status::Warning, looked_at, found)
    }

    /// It does not work.
    pub fn problem(
        check: &'static str,
        looked_at: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::new(check, Status::Problem, looked_at, found)
    }

    /// With the reason why it matters.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// With what mends it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    /// After `mending` was tried: well now, or as before with the reason why it could not be done.
    #[must_use]
    pub fn tried(mut self, mending: error::Result<String>) -> Self {
        match mending {
            Ok(done) => {
                self.status = Status::Ok;
                self.mended = Some(done);
            }
            Err(error) => self.found = format!("{}; not mended: {}", self.found, error.chain()),
        }
        self
    }
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of this format; fields are added, never changed.
    pub version: u32,
    /// Whether there is no problem.
    pub ok: bool,
    /// In the order of the groups.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The report of these.
    pub fn of(findings: Vec<Finding>) -> Self {
        let ok = findings.iter().all(|finding| finding.status != Status::Problem);
        Self { version: 1, ok, findings }
    }

    /// How many stand like this.
    pub fn count(&self, status: Status) -> usize {
        self.findings.iter().filter(|finding| finding.status == status).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_problem_makes_the_report_bad() {
        let warning = Finding::warning("a", "x", "y");
        assert!(Report::of(vec![warning.clone(), Finding::unknown("b", "x", "y")]).ok);
        let problem = Finding::problem("c", "x", "y");
        assert!(!Report::of(vec![warning.clone(), problem.clone()]).ok);
        let mended = problem.clone().tried(Ok("made it".to_owned()));
        assert!(Report::of(vec![warning, mended]).ok);
        let failed = problem.tried(Err(error::Error::internal("no")));
        assert!(failed.status == Status::Problem && failed.found.contains("not mended: no"));
    }
}
