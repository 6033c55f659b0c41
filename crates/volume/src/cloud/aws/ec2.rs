//! The calls of EC2 that volumes need, typed. Look-ups by ID and by name are shared between all who
//! ask at the same time.

use super::call::{Client, Repeat, is_lost, read_answer};
use super::fault::code_of;
use super::form::Form;
use super::merge::Merge;
use super::shapes::{
    Attachment, Copied, FastRestore, FastRestores, Instance, InstanceType, InstanceTypes,
    Modification, Modifications, Modified, Nothing, Reservations, Snapshot, Snapshots, Volume,
    Volumes,
};
use error::{Error, Kind, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The largest page of a listing that is asked for.
const PAGE: usize = 500;
/// How many values a filter may have.
const VALUES: usize = 200;
/// The longest listing, in pages: 1,000,000 entries.
const PAGES: usize = 2_000;

/// EC2, for one client.
pub struct Ec2 {
    client: Arc<Client>,
    by_id: Merge<Volume>,
    by_name: Merge<Vec<Volume>>,
    instances: Merge<Instance>,
}

/// What a listing of volumes or snapshots is narrowed down to: `filter name → any of these`.
pub type VolumeQuery = Vec<(String, Vec<String>)>;

/// A volume to be created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewVolume {
    /// Where.
    pub zone: String,
    /// In GiB; `None`: as large as what it is made of.
    pub size: Option<u64>,
    /// `gp3` …
    pub kind: Option<String>,
    /// I/O operations per second.
    pub iops: Option<u64>,
    /// MiB per second.
    pub throughput: Option<u64>,
    /// Whether to encrypt it; `None`: as the account is set up.
    pub encrypted: Option<bool>,
    /// With which key.
    pub kms_key: Option<String>,
    /// The snapshot that it is made of.
    pub snapshot: Option<String>,
    /// The volume that it is a copy of, in the same zone.
    pub source: Option<String>,
    /// Whether several instances may have it at once.
    pub multi_attach: bool,
    /// On this outpost.
    pub outpost: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The same token again makes no second volume.
    pub token: String,
}

/// What is to be changed of a volume; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// In GiB.
    pub size: Option<u64>,
    /// `gp3` …
    pub kind: Option<String>,
    /// I/O operations per second.
    pub iops: Option<u64>,
    /// MiB per second.
    pub throughput: Option<u64>,
}

/// A snapshot to be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewSnapshot {
    /// Of which volume.
    pub volume: String,
    /// For people who look at it in AWS's console.
    pub description: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// AWS's own code of why a call failed: `VolumeInUse`.
#[must_use]
pub fn code(error: &Error) -> Option<&str> {
    code_of(error)
}

/// Whether it is not known what became of a call.
#[must_use]
pub fn is_doubtful(error: &Error) -> bool {
    is_lost(error)
}

impl Ec2 {
    /// EC2 for `client`; look-ups by name are narrowed down by `scope` besides.
    #[must_use]
    pub fn new(client: Arc<Client>, scope: VolumeQuery) -> Self {
        let (by_id, by_name, instances) = (client.clone(), client.clone(), client.clone());
        Self {
            client,
            by_id: Merge::new(VALUES, move |ids| {
                let client = Arc::clone(&by_id);
                Box::pin(async move {
                    // A filter, not a list of IDs: a list with one that is missing is an error.
                    let found = volumes(&client, &vec![("volume-id".to_owned(), ids)]).await?;
                    Ok(found.into_iter().map(|volume| (volume.id.clone(), volume)).collect())
                })
            }),
            by_name: Merge::new(VALUES, move |names| {
                let (client, mut query) = (Arc::clone(&by_name), scope.clone());
                query.push((
                    "tag:Name".to_owned(),
                    names.iter().map(|name| literal(name)).collect(),
                ));
                Box::pin(async move {
                    let mut found: HashMap<String, Vec<Volume>> = HashMap::new();
                    for volume in volumes(&client, &query).await? {
                        let name = volume.tag("Name").unwrap_or_default().to_owned();
                        found.entry(name).or_default().push(volume);
                    }
                    Ok(found)
                })
            }),
            instances: Merge::new(VALUES, move |ids| {
                let client = Arc::clone(&instances);
                Box::pin(async move { find_instances(&client, ids).await })
            }),
        }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The volume with this ID; one that is being deleted too.
    pub async fn find_volume(&self, id: &str) -> Result<Option<Volume>> {
        self.by_id.get(id).await
    }

    /// The volumes whose `Name` tag this is, that are not about to go.
    pub async fn find_named(&self, name: &str) -> Result<Vec<Volume>> {
        let mut found = self.by_name.get(name).await?.unwrap_or_default();
        found.retain(Volume::exists);
        Ok(found)
    }

    /// The instance with this ID.
    pub async fn find_instance(&self, id: &str) -> Result<Option<Instance>> {
        self.instances.get(id).await
    }

    /// All volumes that `query` admits.
    pub async fn list_volumes(&self, query: &VolumeQuery) -> Result<Vec<Volume>> {
        volumes(&self.client, query).await
    }

    /// Hands over each volume that `query` admits: there may be too many to keep all that AWS says.
    pub async fn each_volume(
        &self,
        query: &VolumeQuery,
        take: impl FnMut(Volume) + Send,
    ) -> Result<()> {
        each_volume(&self.client, query, take).await
    }

    /// Creates a volume, or finds the one that was created with its token.
    pub async fn create_volume(&self, new: &NewVolume) -> Result<Volume> {
        if let Some(source) = &new.source {
            return self.copy_volume(new, source).await;
        }
        let form = Form::default()
            .set("AvailabilityZone", &new.zone)
            .maybe("Size", new.size)
            .maybe("VolumeType", new.kind.as_ref())
            .maybe("Iops", new.iops)
            .maybe("Throughput", new.throughput)
            .maybe("Encrypted", new.encrypted)
            .maybe("KmsKeyId", new.kms_key.as_ref())
            .maybe("SnapshotId", new.snapshot.as_ref())
            .maybe("MultiAttachEnabled", new.multi_attach.then_some(true))
            .maybe("OutpostArn", new.outpost.as_ref())
            .set("ClientToken", &new.token)
            .tagged("volume", &new.tags);
        self.client.call("CreateVolume", &form, Repeat::Harmless).await
    }

    async fn copy_volume(&self, new: &NewVolume, source: &str) -> Result<Volume> {
        let form = Form::default()
            .set("SourceVolumeId", source)
            .maybe("Size", new.size)
            .maybe("VolumeType", new.kind.as_ref())
            .maybe("Iops", new.iops)
            .maybe("Throughput", new.throughput)
            .set("ClientToken", &new.token)
            .tagged("volume", &new.tags);
        let copied: Volumes = self.client.call("CopyVolumes", &form, Repeat::Harmless).await?;
        copied.volume_set.items.into_iter().next().ok_or_else(|| {
            Error::unavailable("AWS answers CopyVolumes without a volume; try again")
        })
    }

    /// Deletes a volume. Missing → `InvalidVolume.NotFound`.
    pub async fn delete_volume(&self, id: &str) -> Result<()> {
        let form = Form::default().set("VolumeId", id);
        let deleted: Result<Nothing> =
            self.client.call("DeleteVolume", &form, Repeat::Harmless).await;
        deleted.map(drop)
    }

    /// Begins to attach a volume to an instance as `device`.
    pub async fn attach_volume(
        &self,
        id: &str,
        instance: &str,
        device: &str,
    ) -> Result<Attachment> {
        let form =
            Form::default().set("VolumeId", id).set("InstanceId", instance).set("Device", device);
        self.client.call("AttachVolume", &form, Repeat::Harmless).await
    }

    /// Begins to detach a volume from an instance; `force` also when that does not let go of it.
    pub async fn detach_volume(&self, id: &str, instance: &str, force: bool) -> Result<()> {
        let form = Form::default()
            .set("VolumeId", id)
            .set("InstanceId", instance)
            .maybe("Force", force.then_some(true));
        let detached: Result<Nothing> =
            self.client.call("DetachVolume", &form, Repeat::Harmless).await;
        detached.map(drop)
    }

    /// Begins to change a volume, as `change` says when the call is sent. Made again it is refused
    /// while it is under way, and lately after that: see
    /// [`find_modification`](Self::find_modification).
    pub async fn modify_volume(
        &self,
        id: &str,
        change: &(dyn Fn() -> Change + Sync),
    ) -> Result<Modification> {
        let form = || {
            let Change { size, kind, iops, throughput } = change();
            Form::default()
                .set("VolumeId", id)
                .maybe("Size", size)
                .maybe("VolumeType", kind)
                .maybe("Iops", iops)
                .maybe("Throughput", throughput)
        };
        let modified: Modified =
            self.client.call_late("ModifyVolume", &form, Repeat::Harmless).await?;
        Ok(modified.volume_modification)
    }

    /// The last change of a volume, if there was one lately.
    pub async fn find_modification(&self, id: &str) -> Result<Option<Modification>> {
        let filter = [("volume-id".to_owned(), vec![id.to_owned()])];
        let form = Form::default().filters(&filter);
        let found: Modifications =
            self.client.call("DescribeVolumesModifications", &form, Repeat::Look).await?;
        Ok(found.volume_modification_set.items.into_iter().max_by(|a, b| a.started.cmp(&b.started)))
    }

    /// Sets tags of volumes or snapshots.
    pub async fn create_tags(&self, ids: &[&str], tags: &BTreeMap<String, String>) -> Result<()> {
        let form = Form::default().list("ResourceId", ids).tags("Tag", tags);
        let set: Result<Nothing> = self.client.call("CreateTags", &form, Repeat::Harmless).await;
        set.map(drop)
    }

    /// Begins to take a snapshot. Not repeatable: when the answer is lost (see [`is_doubtful`]), look
    /// for its tags.
    pub async fn create_snapshot(&self, new: &NewSnapshot) -> Result<Snapshot> {
        let form = Form::default()
            .set("VolumeId", &new.volume)
            .set("Description", &new.description)
            .tagged("snapshot", &new.tags);
        self.client.call("CreateSnapshot", &form, Repeat::Never).await
    }

    /// Begins to copy a snapshot of the region `from` into this client's region; answers its ID.
    pub async fn copy_snapshot(
        &self,
        from: &str,
        id: &str,
        new: &NewSnapshot,
        kms_key: Option<&str>,
    ) -> Result<String> {
        let form = Form::default()
            .set("SourceRegion", from)
            .set("SourceSnapshotId", id)
            .set("Description", &new.description)
            .maybe("Encrypted", kms_key.map(|_| true))
            .maybe("KmsKeyId", kms_key)
            .tagged("snapshot", &new.tags);
        let copied: Copied = self.client.call("CopySnapshot", &form, Repeat::Never).await?;
        Ok(copied.snapshot_id)
    }

    /// Deletes a snapshot. Missing → `InvalidSnapshot.NotFound`.
    pub async fn delete_snapshot(&self, id: &str) -> Result<()> {
        let form = Form::default().set("SnapshotId", id);
        let deleted: Result<Nothing> =
            self.client.call("DeleteSnapshot", &form, Repeat::Harmless).await;
        deleted.map(drop)
    }

    /// All snapshots of this account that `query` admits.
    pub async fn list_snapshots(&self, query: &VolumeQuery) -> Result<Vec<Snapshot>> {
        let (mut all, mut token) = (Vec::new(), None::<String>);
        for _ in 0..PAGES {
            let form = Form::default()
                .set("Owner.1", "self")
                .filters(query)
                .set("MaxResults", PAGE)
                .maybe("NextToken", token.as_ref());
            let page: Snapshots =
                self.client.call("DescribeSnapshots", &form, Repeat::Look).await?;
            all.extend(page.snapshot_set.items);
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(all);
            }
        }
        Err(endless("DescribeSnapshots"))
    }

    /// Keeps a snapshot at hand in zones, or no longer.
    pub async fn set_fast_restore(&self, id: &str, zones: &[&str], on: bool) -> Result<()> {
        let form = Form::default().list("AvailabilityZone", zones).set("SourceSnapshotId.1", id);
        let action = if on { "EnableFastSnapshotRestores" } else { "DisableFastSnapshotRestores" };
        let answer: FastRestores = self.client.call(action, &form, Repeat::Harmless).await?;
        let failed = answer.unsuccessful.items.iter();
        let mut failed = failed.flat_map(|one| &one.fast_snapshot_restore_state_error_set.items);
        match failed.next() {
            None => Ok(()),
            Some(failure) => Err(Error::failed_precondition(format!(
                "AWS refuses {action} in {}: {}",
                failure.availability_zone, failure.error.message
            ))),
        }
    }

    /// Where a snapshot is kept at hand.
    pub async fn list_fast_restores(&self, id: &str) -> Result<Vec<FastRestore>> {
        let filter = [("snapshot-id".to_owned(), vec![id.to_owned()])];
        let form = Form::default().filters(&filter);
        let found: FastRestores =
            self.client.call("DescribeFastSnapshotRestores", &form, Repeat::Look).await?;
        Ok(found.fast_snapshot_restore_set.items)
    }

    /// What AWS says of a type of instance.
    pub async fn find_instance_type(&self, name: &str) -> Result<Option<InstanceType>> {
        let form = Form::default().list("InstanceType", [name]);
        let found: Result<InstanceTypes> =
            self.client.call("DescribeInstanceTypes", &form, Repeat::Look).await;
        match found {
            Ok(found) => Ok(found.instance_type_set.items.into_iter().next()),
            Err(error) if error.kind() == Kind::InvalidArgument => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the credentials allow `action`: AWS checks that without doing anything. `form` must be
    /// a call that would be accepted.
    pub async fn is_allowed(&self, action: &'static str, form: Form) -> Result<bool> {
        let dry: Result<Nothing> =
            self.client.call(action, &form.set("DryRun", true), Repeat::Look).await;
        match dry {
            Ok(_) => Ok(true),
            Err(error) => match code_of(&error) {
                Some("DryRunOperation") => Ok(true),
                Some("UnauthorizedOperation") => Ok(false),
                // AWS looks at the permission first: what it says of the parameters comes after.
                Some(_) if error.kind() != Kind::Unauthenticated => Ok(true),
                _ => Err(error),
            },
        }
    }
}

async fn volumes(client: &Client, query: &VolumeQuery) -> Result<Vec<Volume>> {
    let mut all = Vec::new();
    each_volume(client, query, |volume| all.push(volume)).await?;
    Ok(all)
}

async fn each_volume(
    client: &Client,
    query: &VolumeQuery,
    mut take: impl FnMut(Volume) + Send,
) -> Result<()> {
    let mut text = page_of_volumes(client, query, None).await?;
    for _ in 0..PAGES {
        // AWS reads the next page while this one is worked on.
        let ahead = find_token(&text);
        let next = async {
            match ahead {
                Some(token) => Some(page_of_volumes(client, query, Some(token)).await),
                None => None,
            }
        };
        let work = async {
            let page: Volumes = read_answer("DescribeVolumes", &text)?;
            page.volume_set.items.into_iter().for_each(&mut take);
            Ok::<_, Error>(page.next_token.filter(|token| !token.is_empty()))
        };
        let (next, token) = tokio::join!(next, work);
        let Some(token) = token? else { return Ok(()) };
        text = match next {
            Some(next) if ahead == Some(&token) => next?,
            _ => page_of_volumes(client, query, Some(&token)).await?,
        };
    }
    Err(endless("DescribeVolumes"))
}

/// What is probably the token of the next page, without reading all of this one.
fn find_token(text: &str) -> Option<&str> {
    let (_, rest) = text.rsplit_once("<nextToken>")?;
    let (token, _) = rest.split_once("</nextToken>")?;
    // What is escaped would have to be read.
    (!token.is_empty() && !token.contains('&')).then_some(token)
}

async fn page_of_volumes(
    client: &Client,
    query: &VolumeQuery,
    token: Option<&str>,
) -> Result<String> {
    let form = Form::default().filters(query).set("MaxResults", PAGE).maybe("NextToken", token);
    client.answer("DescribeVolumes", &form, Repeat::Look).await
}

async fn find_instances(client: &Client, ids: Vec<String>) -> Result<HashMap<String, Instance>> {
    let filter = [("instance-id".to_owned(), ids)];
    let form = Form::default().filters(&filter);
    let found: Reservations = client.call("DescribeInstances", &form, Repeat::Look).await?;
    let all = found.reservation_set.items.into_iter().flat_map(|one| one.instances_set.items);
    Ok(all.map(|instance| (instance.id.clone(), instance)).collect())
}

fn endless(action: &str) -> Error {
    Error::unavailable(format!("AWS answers {action} with more than {PAGES} pages"))
}

/// A filter's value that stands for itself: `*`, `?` and `\` mean something in filters.
fn literal(value: &str) -> String {
    let mut literal = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '*' | '?' | '\\') {
            literal.push('\\');
        }
        literal.push(c);
    }
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_only_asked_for_ahead_by_a_token_that_stands_there_as_it_is() {
        let page = |rest: &str| format!("<R><volumeSet><item/></volumeSet>{rest}</R>");
        for (rest, token) in [
            ("<nextToken>a+b/c==</nextToken>", Some("a+b/c==")),
            ("<nextToken>a&amp;b</nextToken>", None),
            ("<nextToken></nextToken>", None),
            ("<nextToken/>", None),
            ("<nextToken>cut", None),
            ("", None),
        ] {
            assert_eq!(find_token(&page(rest)), token, "{rest}");
        }
    }
}
