//! What changes volumes, one after the other: selection, dry run, going on after failures, and what
//! is said about it.

use crate::api::{Changed, ExpandVolume, MountVolume, VolumeInfo};
use crate::cli::act::move_here;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{Format, Output};
use crate::cli::select::{Reach, all_or_none, select_each};
use crate::cli::session::{Found, Session, volume_path};
use crate::cli::terminal::{emit_line, note};
use crate::cli::volume::{Patience, Targets, show_rows, title};
use error::{Error, Kind, Result};
use serde_json::json;
use std::future::Future;
use std::process::ExitCode;

/// A change of one volume.
pub(crate) enum Change {
    /// Remove it.
    Remove {
        /// Detach it before.
        force: bool,
        /// Nothing will happen: more may be selected.
        dry_run: bool,
    },
    /// Attach it to this machine.
    Attach,
    /// Detach it.
    Detach,
    /// Mount it.
    Mount(MountVolume),
    /// Give a mount back.
    Unmount(MountVolume),
    /// Grow it.
    Expand(ExpandVolume),
    /// Have its driver move it to where this machine can reach it, and then this.
    Moved(Box<Change>),
}

impl Change {
    /// The verb, and the verb of what goes on.
    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Remove { .. } => ("remove", "removing"),
            Self::Attach => ("attach", "attaching"),
            Self::Detach => ("detach", "detaching"),
            Self::Mount(_) => ("mount", "mounting"),
            Self::Unmount(_) => ("unmount", "unmounting"),
            Self::Expand(_) => ("expand", "expanding"),
            Self::Moved(then) => then.words(),
        }
    }

    /// The same after a move, if that is wanted.
    pub(crate) fn moved(self, wanted: bool) -> Self {
        if wanted { Self::Moved(Box::new(self)) } else { self }
    }

    /// What a dry run says that it would do.
    fn intent(&self, volume: &VolumeInfo) -> String {
        let way = if matches!(self, Self::Moved(_)) { "move here and " } else { "" };
        format!("{way}{} {}", self.words().0, title(volume))
    }

    fn reach(&self) -> Reach {
        match self {
            Self::Remove { force, dry_run } => Reach::Whole { regex: *force || *dry_run },
            _ => Reach::Partial,
        }
    }

    /// Asks for the change of `volume`.
    pub(crate) async fn apply(&self, session: &Session, volume: &VolumeInfo) -> Result<Changed> {
        let what = format!("{} {}", self.words().1, volume.name);
        let path = volume_path(volume);
        match self {
            Self::Remove { force: false, .. } => session.delete(&what, &path).await,
            Self::Remove { force: true, .. } => {
                session.delete(&what, &format!("{path}?force=true")).await
            }
            Self::Attach => session.post(&what, &format!("{path}/attach"), &json!({})).await,
            Self::Detach => session.post(&what, &format!("{path}/detach"), &json!({})).await,
            Self::Mount(body) => session.post(&what, &format!("{path}/mount"), body).await,
            Self::Unmount(body) => session.post(&what, &format!("{path}/unmount"), body).await,
            Self::Expand(body) => session.post(&what, &format!("{path}/expand"), body).await,
            Self::Moved(then) => {
                move_here(session, volume).await?;
                Box::pin(then.apply(session, volume)).await
            }
        }
    }

    /// The error when there was nothing to change.
    fn refuse(&self, volume: &VolumeInfo) -> Error {
        let title = title(volume);
        let state = match self {
            Self::Remove { .. } => return Error::not_found(format!("{title} is gone already")),
            Self::Attach => "is already attached".to_owned(),
            Self::Detach => "is not attached".to_owned(),
            Self::Mount(mount) => format!("is already mounted by {}", mount_id(mount)),
            Self::Unmount(MountVolume { all: true, .. }) => "is not mounted".to_owned(),
            Self::Unmount(mount) => format!("is not mounted by {}", mount_id(mount)),
            Self::Expand(_) => "is as large already".to_owned(),
            Self::Moved(then) => return then.refuse(volume),
        };
        let mut message = format!("{title} {state}; give --idempotent to accept that");
        if let Self::Unmount(_) = self
            && let Some(others) = consumers(volume)
        {
            message.push_str(&format!(", or the --id that it is mounted with ({others})"));
        }
        Error::failed_precondition(message)
    }

    /// What is printed about a changed volume.
    fn line(&self, volume: &VolumeInfo) -> String {
        match (self, &volume.mountpoint) {
            (Self::Moved(then), _) => then.line(volume),
            (Self::Mount(_), Some(path)) => path.display().to_string(),
            _ => volume.name.clone(),
        }
    }
}

fn mount_id(mount: &MountVolume) -> &str {
    mount.id.as_deref().unwrap_or("cli")
}

fn consumers(volume: &VolumeInfo) -> Option<String> {
    let ids: Vec<_> = volume.consumers.iter().map(|consumer| consumer.id.as_str()).collect();
    (!ids.is_empty()).then(|| ids.join(", "))
}

/// A series of changes.
pub(crate) struct Batch<'a> {
    /// The connection.
    pub(crate) session: &'a Session,
    /// How results are shown.
    pub(crate) output: &'a Output,
    /// Nothing is changed.
    pub(crate) dry_run: bool,
}

impl Batch<'_> {
    /// Changes the volumes of `targets`.
    pub(crate) async fn apply(
        &self,
        targets: &Targets,
        change: &Change,
        idempotent: bool,
    ) -> Outcome {
        self.change(&targets.volumes, &targets.patience, change, idempotent).await
    }

    /// Changes the volumes that `words` mean; `lenient` accepts that there is nothing to do.
    pub(crate) async fn change(
        &self,
        words: &[String],
        patience: &Patience,
        change: &Change,
        lenient: bool,
    ) -> Outcome {
        let Found { entries: all, complete } = self.session.volumes().await?;
        // What could not be asked for may be there: then it is not gone already, nor missing.
        let forgives = lenient && complete && matches!(change, Change::Remove { .. });
        let mut selected = select_each(&all, words, change.reach(), forgives);
        if !complete {
            selected = selected.into_iter().map(|one| one.map_err(unsure)).collect();
        }
        // Nothing is changed when a name is wrong, unless the rest is wanted nevertheless.
        let selected = if patience.continue_on_error { selected } else { all_or_none(selected)? };
        let work = selected.into_iter().map(|volume| async {
            match volume {
                Ok(volume) => self.change_one(volume, change, lenient).await,
                Err(error) => Err(error),
            }
        });
        self.run(work, patience, |volume| change.line(volume)).await
    }

    async fn change_one(
        &self,
        volume: &VolumeInfo,
        change: &Change,
        lenient: bool,
    ) -> Result<Option<VolumeInfo>> {
        if self.dry_run {
            self.would(&change.intent(volume))?;
            return Ok(self.output.is_json().then(|| volume.clone()));
        }
        let changed = match change.apply(self.session, volume).await {
            Err(error) if lenient && is_gone(change, &error) => return Ok(None),
            other => other?,
        };
        if let Some(text) = &changed.note {
            note(text);
        }
        let after = changed.volume.unwrap_or_else(|| volume.clone());
        if changed.changed || lenient { Ok(Some(after)) } else { Err(change.refuse(&after)) }
    }

    /// Says what would be done.
    pub(crate) fn would(&self, what: &str) -> Result<()> {
        let line = format!("would {what}");
        if self.output.is_json() {
            note(&line);
            return Ok(());
        }
        emit_line(&line)
    }

    /// [`run`](Self::run) of a single piece of work that prints the name.
    pub(crate) async fn run_one(
        &self,
        work: impl Future<Output = Result<Option<VolumeInfo>>>,
    ) -> Outcome {
        let patience = Patience { continue_on_error: false };
        self.run([work], &patience, |volume| volume.name.clone()).await
    }

    /// Does one piece of work after the other and shows the volumes that come out: `line` at once,
    /// other formats at the end.
    pub(crate) async fn run<W>(
        &self,
        work: impl IntoIterator<Item = W>,
        patience: &Patience,
        line: impl Fn(&VolumeInfo) -> String,
    ) -> Outcome
    where
        W: Future<Output = Result<Option<VolumeInfo>>>,
    {
        let format = self.output.format()?;
        let is_plain = matches!(format, Format::Table);
        let (mut done, mut errors) = (Vec::new(), Vec::new());
        for piece in work {
            match piece.await {
                Ok(Some(volume)) if is_plain => emit_line(&line(&volume))?,
                Ok(volume) => done.extend(volume),
                Err(error) => errors.push(error),
            }
            if !errors.is_empty() && !patience.continue_on_error {
                break;
            }
        }
        self.end(&format, done, errors)
    }

    fn end(&self, format: &Format, done: Vec<VolumeInfo>, errors: Vec<Error>) -> Outcome {
        if !errors.is_empty() && self.output.is_json() {
            let rows = done.iter().filter_map(|volume| serde_json::to_value(volume).ok());
            return Err(Failure::new(errors, rows.collect()));
        }
        if !matches!(format, Format::Table) {
            show_rows(self.output, format, done)?;
        }
        if errors.is_empty() {
            Ok(ExitCode::SUCCESS)
        } else {
            Err(Failure::new(errors, Vec::new()))
        }
    }
}

fn is_gone(change: &Change, error: &Error) -> bool {
    matches!(change, Change::Remove { .. }) && error.kind() == Kind::NotFound
}

/// That nothing matches is not known as long as a service could not be asked; why not is told already.
fn unsure(error: Error) -> Error {
    if error.kind() != Kind::NotFound {
        return error;
    }
    Error::unavailable(format!(
        "{}, but not every service could be asked; name the one that is meant with --service, or \
         mend what is wrong with the other",
        error.message()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn volume(name: &str) -> VolumeInfo {
        serde_json::from_value(json!({
            "service": "s", "name": name, "id": name, "driver": "loop", "status": "mounted",
            "created": "2026-01-02T03:04:05Z", "mountpoint": format!("/m/{name}"),
            "consumers": [{"id": "docker-1", "since": "2026-01-02T03:04:05Z"}],
        }))
        .unwrap()
    }

    #[test]
    fn removing_accepts_a_regex_only_in_earnest_or_not_at_all() {
        let reach = |force, dry_run| Change::Remove { force, dry_run }.reach();
        assert_eq!(reach(false, false), Reach::Whole { regex: false });
        assert_eq!(reach(true, false), Reach::Whole { regex: true });
        assert_eq!(reach(false, true), Reach::Whole { regex: true });
    }

    #[test]
    fn what_is_so_already_says_how_to_accept_that() {
        let error = Change::Mount(MountVolume::default()).refuse(&volume("a"));
        assert_eq!(error.kind().exit_code(), 4);
        assert_eq!(
            error.message(),
            "volume a of service s is already mounted by cli; give --idempotent to accept that"
        );
        let error = Change::Unmount(MountVolume::default()).refuse(&volume("a"));
        assert!(error.message().contains("(docker-1)"), "{error}");
    }

    #[test]
    fn a_move_before_a_mount_is_announced_and_the_rest_is_as_without_it() {
        let change = |moves| Change::Mount(MountVolume::default()).moved(moves);
        assert_eq!(change(true).intent(&volume("a")), "move here and mount volume a of service s");
        assert_eq!(change(false).intent(&volume("a")), "mount volume a of service s");
        assert_eq!(change(true).line(&volume("a")), "/m/a");
        let refusals = [true, false].map(|moves| change(moves).refuse(&volume("a")).to_string());
        assert_eq!(refusals[0], refusals[1]);
    }

    #[test]
    fn mount_prints_the_mount_point_and_the_others_the_name() {
        assert_eq!(Change::Mount(MountVolume::default()).line(&volume("a")), "/m/a");
        assert_eq!(Change::Attach.line(&volume("a")), "a");
    }
}
