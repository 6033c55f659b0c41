//! The verbs that make volumes: create, clone; and `snapshot restore`.

use super::Patience;
use crate::api::{Changed, CreateVolume, VolumeInfo};
use crate::cli::change::{Batch, Change};
use crate::cli::failure::Outcome;
use crate::cli::pair;
use crate::cli::select::{Reach, select};
use clap::Args;
use error::{Error, Result};
use std::collections::BTreeMap;

const EXAMPLES: &str = "\
Examples:
  mobula volume create pgdata
  mobula volume create pgdata --size 20GiB --fs-type xfs
  mobula volume create scratch -s fast -o mountOptions=noatime --label tier=gold
  mobula volume create copy --snapshot nightly

`mobula driver inspect DRIVER` shows the options that a driver knows.";

/// Create volumes, and print their names.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Create {
    /// Name of the volume (repeatable).
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    rexray: Rexray,

    /// Create it from this snapshot.
    #[arg(long, visible_alias = "snapshotID", value_name = "SNAPSHOT")]
    snapshot: Option<String>,

    /// Attach it to this machine.
    #[arg(long)]
    attach: bool,

    /// Attach and mount it.
    #[arg(long)]
    amount: bool,

    #[command(flatten)]
    patience: Patience,
}

/// What a new volume shall be like.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Settings {
    /// Capacity, such as 10GiB; a bare number counts GiB.
    #[arg(long, value_name = "SIZE")]
    size: Option<String>,

    /// File system: ext4, xfs or btrfs.
    #[arg(long, visible_alias = "fsType", value_name = "TYPE")]
    fs_type: Option<String>,

    /// Option of the driver (repeatable).
    #[arg(short, long = "option", alias = "opt", value_name = "KEY=VALUE", value_parser = pair)]
    options: Vec<(String, String)>,

    /// Label (repeatable).
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
}

/// Flags of REX-Ray that are options of a driver, if it has them.
#[derive(Debug, Args)]
struct Rexray {
    /// Option volumeType of the driver.
    #[arg(long = "volumeType", visible_alias = "volume-type", value_name = "TYPE", hide = true)]
    volume_type: Option<String>,

    /// Option iops of the driver.
    #[arg(long, value_name = "NUMBER", hide = true)]
    iops: Option<String>,

    /// Option availabilityZone of the driver.
    #[arg(
        long = "availabilityZone",
        visible_alias = "availability-zone",
        value_name = "ZONE",
        hide = true
    )]
    availability_zone: Option<String>,

    /// Option encrypted of the driver.
    #[arg(long, hide = true)]
    encrypted: bool,

    /// Option encryptionKey of the driver.
    #[arg(
        long = "encryptionKey",
        visible_alias = "encryption-key",
        value_name = "KEY",
        hide = true
    )]
    encryption_key: Option<String>,
}

/// Create a volume as a copy of another one.
#[derive(Debug, Args)]
pub(crate) struct Clone {
    /// The volume to copy: name, ID, or beginning of a name.
    #[arg(value_name = "VOLUME")]
    source: String,

    /// Name of the new volume.
    #[arg(value_name = "NEW")]
    name: String,

    #[command(flatten)]
    settings: Settings,
}

/// What a new volume begins with.
pub(crate) enum Origin<'a> {
    /// A snapshot.
    Snapshot(&'a str),
    /// Another volume.
    Clone(&'a str),
}

impl Settings {
    /// These options and labels, and nothing else.
    pub(super) fn of(options: Vec<(String, String)>, labels: Vec<(String, String)>) -> Self {
        Self { options, labels, ..Self::default() }
    }

    /// The request for a volume `name`.
    pub(crate) fn request(
        &self,
        name: &str,
        service: Option<&str>,
        origin: Option<&Origin<'_>>,
    ) -> Result<CreateVolume> {
        let origin = match origin {
            Some(Origin::Snapshot(snapshot)) => Some(("snapshot", *snapshot)),
            Some(Origin::Clone(source)) => Some(("clone", *source)),
            None => None,
        };
        let flags = [("size", self.size.as_deref()), ("fsType", self.fs_type.as_deref())];
        let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let given = self.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Ok(CreateVolume {
            service: service.map(str::to_owned),
            name: name.to_owned(),
            options: once_each("option", flags.chain(origin).chain(given))?,
            labels: once_each("label", self.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())))?,
            from: None,
        })
    }
}

/// A map of `pairs`; a key that is given twice is refused.
fn once_each<'a>(
    what: &str,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Error::invalid_argument(format!(
                "{what} {key} is given twice; give it once"
            )));
        }
    }
    Ok(map)
}

impl Rexray {
    fn options(&self) -> impl Iterator<Item = (String, String)> {
        let encrypted = self.encrypted.then(|| "true".to_owned());
        [
            ("volumeType", self.volume_type.clone()),
            ("iops", self.iops.clone()),
            ("availabilityZone", self.availability_zone.clone()),
            ("encrypted", encrypted),
            ("encryptionKey", self.encryption_key.clone()),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    }
}

impl Create {
    /// Creates them.
    pub(crate) async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let requests: Vec<_> =
            self.names.iter().map(|name| self.request(batch, name)).collect::<Result<_>>()?;
        let work = requests.iter().map(|request| self.create(batch, request));
        batch.run(work, &self.patience, |volume| volume.name.clone()).await
    }

    fn request(&self, batch: &Batch<'_>, name: &str) -> Result<CreateVolume> {
        let mut settings = self.settings.clone();
        settings.options.extend(self.rexray.options());
        let origin = self.snapshot.as_deref().map(Origin::Snapshot);
        settings.request(name, batch.session.service.as_deref(), origin.as_ref())
    }

    async fn create(
        &self,
        batch: &Batch<'_>,
        request: &CreateVolume,
    ) -> Result<Option<VolumeInfo>> {
        let Some(volume) = create(batch, request).await? else { return Ok(None) };
        let next = match (self.amount, self.attach) {
            (true, _) => Change::Mount(crate::api::MountVolume::default()),
            (_, true) => Change::Attach,
            _ => return Ok(Some(volume)),
        };
        let changed = next.apply(batch.session, &volume).await?;
        Ok(Some(changed.volume.unwrap_or(volume)))
    }
}

/// Creates one volume, or says that it would.
pub(crate) async fn create(
    batch: &Batch<'_>,
    request: &CreateVolume,
) -> Result<Option<VolumeInfo>> {
    if batch.dry_run {
        return batch.would(&format!("create volume {}", request.name)).map(|()| None);
    }
    let what = format!("creating {}", request.name);
    let changed: Changed = batch.session.post(&what, "/v1/volumes", request).await?;
    changed.volume.map(Some).ok_or_else(|| {
        Error::internal(format!("volume {} was created and is not to be seen", request.name))
    })
}

impl Clone {
    /// Copies it.
    pub(crate) async fn run(&self, batch: &Batch<'_>) -> Outcome {
        let all = batch.session.volumes().await?.entries;
        let source = select(&all, &self.source, Reach::Partial)?;
        let [source] = source.as_slice() else {
            return Err(Error::invalid_argument("give one volume to copy").into());
        };
        let origin = Origin::Clone(&source.name);
        let request = self.settings.request(&self.name, Some(&source.service), Some(&origin))?;
        batch.run_one(create(batch, &request)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: &[(&str, &str)]) -> Settings {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings { size: Some("10GiB".to_owned()), options, ..Settings::default() }
    }

    #[test]
    fn flags_and_options_become_options_of_the_request() {
        let origin = Origin::Snapshot("nightly");
        let request = settings(&[("mode", "0770")]).request("a", Some("s"), Some(&origin)).unwrap();
        let options: Vec<_> = request.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(options, ["mode=0770", "size=10GiB", "snapshot=nightly"]);
        assert_eq!(request.service.as_deref(), Some("s"));
    }

    #[test]
    fn an_option_that_a_flag_gives_too_is_refused() {
        let error = settings(&[("size", "1")]).request("a", None, None).unwrap_err();
        assert_eq!(error.message(), "option size is given twice; give it once");
    }
}
