//! What a volume's tags say, and what is written into them. Values keep to the characters that every
//! AWS service takes in tags: letters, digits and `+ - = . _ : / @`. Pairs are parted by `_`; what is
//! not a letter, a digit or one of `+ - . : /` is `@` and two hexadecimal digits for each byte.
//!
//! ```text
//! Name               <tag>/<volume>
//! mobula:record      v=1_size=16GiB_fsType=ext4_label.team=db   (goes on in mobula:record.1 …)
//! mobula:filesystem  type=ext4_uuid=…_covers=17179869184
//! ```
//!
//! Until its first mount a new volume has no `uuid` there: it follows from the volume's ID, which
//! nobody knows before the call that creates it. What is copied has it spelled out.

use super::parameters;
use super::settings::{CLUSTER, Settings};
use crate::cloud::aws;
use crate::name::{NodeId, SnapshotName, VolumeId, VolumeName};
use crate::options::parse_volume_options;
use crate::size::Size;
use crate::volume::{Create, Filesystem, Origin, Parameters, Snapshot, Volume};
use error::{Error, Kind, Result};
use host::Fstype;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The tag that a volume of this program has.
pub(super) const RECORD: &str = "mobula:record";
/// The tag that says what file system it has.
pub(super) const FILESYSTEM: &str = "mobula:filesystem";
/// The tag of a snapshot: its own name.
pub(super) const SNAPSHOT: &str = "mobula:snapshot";
/// The tag of a snapshot: the name of its volume.
pub(super) const SNAPSHOT_OF: &str = "mobula:volume";
/// The version of what is written here.
const VERSION: &str = "1";
/// The longest value of a tag, in characters; AWS takes 256.
const LONGEST: usize = 250;
/// How many tags a record may take, of the 50 that a volume can have.
const MOST: usize = 24;

type Tags = BTreeMap<String, String>;

/// `a=1_b=x@2Cy`.
fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = pairs.into_iter().map(|(key, value)| format!("{}={}", escape(key), escape(value)));
    pairs.collect::<Vec<_>>().join("_")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"+-.:/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("@{byte:02X}"));
        }
    }
    escaped
}

/// The pairs, of the text itself as far as nothing is escaped.
fn decode(text: &str) -> Result<BTreeMap<Cow<'_, str>, Cow<'_, str>>> {
    let pair = |pair| {
        let (key, value) = str::split_once(pair, '=')?;
        Some((unescape(key)?, unescape(value)?))
    };
    let broken = |part: &str| {
        Error::failed_precondition(format!(
            "the tag holds \"{}\", which is not what this program writes",
            part.escape_debug().take(40).collect::<String>()
        ))
    };
    text.split('_')
        .filter(|part| !part.is_empty())
        .map(|part| pair(part).ok_or_else(|| broken(part)))
        .collect()
}

fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('@') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'@' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The tags of a new volume.
pub(super) fn tags(
    settings: &Settings,
    request: &Create,
    parameters: &Parameters,
    filesystem: Option<&Filesystem>,
) -> Result<Tags> {
    let options = parameters.spelled();
    let labels: Vec<_> = request
        .labels
        .iter()
        .map(|(key, value)| (format!("label.{key}"), value.as_str()))
        .collect();
    let origin = match &request.origin {
        Some(Origin::Volume(name)) => Some(("origin.volume", name.as_str())),
        Some(Origin::Snapshot(name)) => Some(("origin.snapshot", name.as_str())),
        None => None,
    };
    let version = [("v", VERSION)];
    let text = encode(
        version
            .into_iter()
            .chain(options.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .chain(origin)
            .chain(labels.iter().map(|(key, value)| (key.as_str(), *value))),
    );
    let mut tags = settings.tags.clone();
    tags.extend(chunks(&text)?);
    tags.insert("Name".to_owned(), format!("{}{}", settings.prefix, request.name));
    tags.extend(settings.cluster.iter().map(|name| (CLUSTER.to_owned(), name.clone())));
    tags.extend(filesystem.map(|filesystem| (FILESYSTEM.to_owned(), of_filesystem(filesystem))));
    Ok(tags)
}

/// The tags that make a volume of another program one of this: what is known of it.
pub(super) fn adopted(volume: &Volume) -> Result<Tags> {
    let mut parameters = volume.parameters.clone();
    parameters.size = volume.size;
    parameters.fs_type = volume.filesystem.as_ref().map(|filesystem| filesystem.fstype);
    let options = parameters.spelled();
    let options = options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    chunks(&encode([("v", VERSION)].into_iter().chain(options)))
}

/// The text in as many tags as it takes.
fn chunks(text: &str) -> Result<Tags> {
    let key = |index: usize| match index {
        0 => RECORD.to_owned(),
        index => format!("{RECORD}.{index}"),
    };
    // Escaped, it is all ASCII.
    let parts = text.as_bytes().chunks(LONGEST);
    if parts.len() > MOST {
        return Err(Error::new(
            Kind::OutOfRange,
            format!(
                "the options and labels of the volume take {} characters, and its tags hold {}; give \
                 fewer",
                text.len(),
                LONGEST * MOST
            ),
        ));
    }
    let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    Ok(parts.enumerate().map(|(index, part)| (key(index), text(part))).collect())
}

/// The text of the record, of which `tag` knows the parts.
fn joined<'a>(tag: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let mut text = tag(RECORD)?.to_owned();
    for index in 1..MOST {
        match tag(&format!("{RECORD}.{index}")) {
            Some(part) => text.push_str(part),
            None => break,
        }
    }
    Some(text)
}

/// The tag's value for a file system; a nil UUID stands for the one of the volume's ID.
pub(super) fn of_filesystem(filesystem: &Filesystem) -> String {
    let uuid = (!filesystem.uuid.is_nil()).then(|| filesystem.uuid.to_string());
    let covers = filesystem.covers.map(|size| size.0.to_string());
    let inherited = filesystem.inherited.map(|uuid| uuid.to_string());
    let kind = [("type", filesystem.fstype.name())];
    let uuid = uuid.iter().map(|uuid| ("uuid", uuid.as_str()));
    let covers = covers.iter().map(|covers| ("covers", covers.as_str()));
    let inherited = inherited.iter().map(|uuid| ("inherited", uuid.as_str()));
    let fresh = filesystem.fresh.then_some(("fresh", "true"));
    encode(kind.into_iter().chain(uuid).chain(covers).chain(inherited).chain(fresh))
}

/// What the tag of the volume with this ID, or of a snapshot of it, says.
pub(super) fn filesystem(text: &str, id: &str) -> Result<Filesystem> {
    let pairs = decode(text)?;
    let broken =
        || Error::failed_precondition(format!("tag {FILESYSTEM} is not one of this program"));
    let uuid = |name: &str| pairs.get(name).map(|text| Uuid::parse_str(text)).transpose();
    let covers = pairs.get("covers").map(|text| text.parse().map(Size)).transpose();
    let own = uuid("uuid").map_err(|_| broken())?;
    Ok(Filesystem {
        fstype: Fstype::parse(pairs.get("type").ok_or_else(broken)?)?,
        uuid: own.filter(|uuid| !uuid.is_nil()).unwrap_or_else(|| derived_uuid(id)),
        inherited: uuid("inherited").map_err(|_| broken())?,
        fresh: pairs.contains_key("fresh"),
        covers: covers.map_err(|_| broken())?,
        unrecorded: false,
    })
}

/// Spells out, in tags that are to be copied, what follows from the ID of the volume they are of.
pub(super) fn spell_out(tags: &mut Tags, id: &str) {
    if let Some(text) = tags.get_mut(FILESYSTEM)
        && let Ok(filesystem) = filesystem(text, id)
    {
        *text = of_filesystem(&filesystem);
    }
}

/// What is not on record: only the device can tell.
pub(super) fn unrecorded(id: &str, fstype: Fstype) -> Filesystem {
    let uuid = derived_uuid(id);
    Filesystem { fstype, uuid, inherited: None, fresh: false, covers: None, unrecorded: true }
}

/// A UUID that is always the same for the same words.
pub(super) fn derived_uuid(words: &str) -> Uuid {
    let digest = Sha256::digest(format!("file system of {words}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// What a record says.
#[derive(Default)]
pub(super) struct Said {
    pub parameters: Parameters,
    pub labels: BTreeMap<String, String>,
    pub origin: Option<Origin>,
}

/// What the record says, of which `tag` knows the parts; `None` when there is none.
pub(super) fn said<'a>(tag: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Said>> {
    let Some(text) = joined(tag) else { return Ok(None) };
    let mut pairs = decode(&text)?;
    match pairs.remove("v").as_deref() {
        Some(VERSION) => {}
        other => {
            return Err(Error::failed_precondition(format!(
                "its record is of version {}, and this program knows {VERSION}",
                other.unwrap_or("?")
            )));
        }
    }
    let mut said = Said::default();
    if let Some(name) = pairs.remove("origin.volume") {
        said.origin = Some(Origin::Volume(VolumeName::parse(&name)?));
    }
    if let Some(name) = pairs.remove("origin.snapshot") {
        said.origin = Some(Origin::Snapshot(SnapshotName::parse(&name)?));
    }
    let labels = pairs.extract_if(.., |key, _| key.starts_with("label."));
    let labels = labels.map(|(key, value)| (key["label.".len()..].to_owned(), value.into_owned()));
    said.labels = labels.collect();
    let options = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    said.parameters = parse_volume_options(&super::SPEC, options)?.0;
    Ok(Some(said))
}

/// The volume that AWS shows, as its tags describe it. Tags that cannot be used are an error.
pub(super) fn volume(settings: &Settings, raw: &aws::Volume) -> Result<Volume> {
    let name = name(settings, raw).ok_or_else(|| nameless(raw))?;
    let said = said(|key| raw.tag(key)).map_err(|error| unknown_record(raw, &error))?;
    let (is_recorded, size) = (said.is_some(), parameters::bytes(raw.size));
    let Said { mut parameters, labels, origin } = said.unwrap_or_default();
    if !is_recorded {
        parameters.size = Some(size);
    }
    let filesystem = match raw.tag(FILESYSTEM) {
        _ if raw.multi_attach_enabled => None,
        Some(text) => {
            Some(filesystem(text, &raw.id).map_err(|error| unknown_filesystem(raw, &error))?)
        }
        None => Some(unrecorded(&raw.id, parameters.fs_type.unwrap_or(Fstype::Ext4))),
    };
    Ok(Volume {
        id: VolumeId::new(raw.id.as_str()),
        size: Some(size),
        created: created(raw),
        filesystem,
        parameters,
        labels,
        origin,
        details: details(raw),
        attached: attached(raw),
        fault: (raw.state == "error").then(|| {
            format!(
                "EBS volume {} has failed at AWS (state error); remove it (`mobula volume rm`) and \
                 create it again, of a snapshot if there is one",
                raw.id
            )
        }),
        name,
    })
}

/// A volume whose tags cannot be used, as far as AWS knows it without them.
pub(super) fn unusable(raw: &aws::Volume, name: VolumeName, why: &Error) -> Volume {
    Volume {
        size: Some(parameters::bytes(raw.size)),
        created: created(raw),
        details: details(raw),
        attached: attached(raw),
        ..Volume::unusable(VolumeId::new(raw.id.as_str()), name, why)
    }
}

/// What a volume of this program is called that has lost its name: by its ID.
pub(super) fn name_of_nameless(settings: &Settings, raw: &aws::Volume) -> Option<VolumeName> {
    let is_ours = raw.tag(RECORD).is_some() && raw.tag(CLUSTER) == settings.cluster.as_deref();
    // One with another name, or of another service perhaps, is somebody's.
    let is_nameless = raw.tag("Name").is_none_or(str::is_empty) && settings.prefix.is_empty();
    VolumeName::parse(&raw.id).ok().filter(|_| is_ours && is_nameless)
}

fn nameless(raw: &aws::Volume) -> Error {
    Error::failed_precondition(format!(
        "EBS volume {0} has no name that a volume can have (tag Name); give it its name back (aws ec2 \
         create-tags --resources {0} --tags Key=Name,Value=NAME)",
        raw.id
    ))
}

fn unknown_record(raw: &aws::Volume, error: &Error) -> Error {
    Error::failed_precondition(format!(
        "the tags {RECORD} … of EBS volume {} cannot be used: {}; put them back as they were, or use \
         the version of mobula that wrote them",
        raw.id,
        error.message()
    ))
}

fn unknown_filesystem(raw: &aws::Volume, error: &Error) -> Error {
    Error::failed_precondition(format!(
        "the tag {FILESYSTEM} of EBS volume {0} cannot be used: {1}; put it back as it was, or delete \
         it (aws ec2 delete-tags --resources {0} --tags Key={FILESYSTEM}): then the file system that \
         the disk shows is the volume's",
        raw.id,
        error.message()
    ))
}

fn created(raw: &aws::Volume) -> Timestamp {
    raw.created.parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

fn attached(raw: &aws::Volume) -> Vec<NodeId> {
    let there = raw.attachments().iter().filter(|there| there.state != "detached");
    there.map(|there| NodeId::new(there.instance.as_str())).collect()
}

/// The volume's name, if that tag is one.
pub(super) fn name(settings: &Settings, raw: &aws::Volume) -> Option<VolumeName> {
    VolumeName::parse(raw.tag("Name")?.strip_prefix(&settings.prefix)?).ok()
}

fn details(raw: &aws::Volume) -> BTreeMap<String, String> {
    let attached = raw.attachments().iter().map(|attachment| attachment.instance.as_str());
    let attached = attached.collect::<Vec<_>>().join(",");
    let all = [
        ("zone", Some(raw.zone.clone())),
        ("state", Some(raw.state.clone())),
        ("volumeType", Some(raw.kind.clone())),
        ("iops", raw.iops.map(|iops| iops.to_string())),
        ("throughput", raw.throughput.map(|throughput| throughput.to_string())),
        ("encrypted", raw.encrypted.then(|| "true".to_owned())),
        ("encryptionKey", raw.kms_key_id.clone()),
        ("attached", Some(attached)),
    ];
    let known = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    known.filter(|(_, value)| !value.is_empty()).collect()
}

/// The tags of a snapshot of a volume: what that has, but for its name.
pub(super) fn snapshot_tags(
    settings: &Settings,
    raw: &aws::Volume,
    volume: &VolumeName,
    name: &SnapshotName,
) -> Tags {
    let is_kept = |key: &str| {
        !key.starts_with("aws:")
            && !matches!(key, "Name" | super::lease::LEASE | super::orphans::USED)
            && !super::moves::is_of_original(key)
    };
    let mut tags = raw.tags();
    tags.retain(|key, _| is_kept(key));
    spell_out(&mut tags, &raw.id);
    tags.extend(settings.tags.clone());
    tags.insert("Name".to_owned(), format!("{}{name}", settings.prefix));
    tags.insert(SNAPSHOT.to_owned(), name.to_string());
    tags.insert(SNAPSHOT_OF.to_owned(), volume.to_string());
    tags.extend(settings.cluster.iter().map(|name| (CLUSTER.to_owned(), name.clone())));
    tags
}

/// The snapshot that AWS shows, as its tags describe it; `None` for one that is not of this program.
pub(super) fn snapshot(raw: &aws::Snapshot) -> Result<Option<Snapshot>> {
    let (Some(name), Some(volume)) = (raw.tag(SNAPSHOT), raw.tag(SNAPSHOT_OF)) else {
        return Ok(None);
    };
    let parameters = said(|key| raw.tag(key))?.unwrap_or_default().parameters;
    let filesystem =
        raw.tag(FILESYSTEM).map(|text| filesystem(text, &raw.volume_id)).transpose()?;
    let state = match raw.state.as_str() {
        "completed" => "completed".to_owned(),
        state => format!("{state} {}", raw.progress).trim().to_owned(),
    };
    let details = [("id", raw.id.clone()), ("state", state), ("of", raw.volume_id.clone())];
    Ok(Some(Snapshot {
        name: SnapshotName::parse(name)?,
        volume: VolumeName::parse(volume)?,
        size: parameters::bytes(raw.volume_size),
        created: raw.started.parse().unwrap_or(Timestamp::UNIX_EPOCH),
        filesystem,
        parameters,
        details: details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(pairs in proptest::collection::btree_map(".{1,20}", ".{0,400}", 0..8)) {
            let text = encode(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            if let Ok(tags) = chunks(&text) {
                for value in tags.values() {
                    prop_assert!(value.chars().count() <= 256);
                    prop_assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || "+-=._:/@".contains(c)));
                }
                let text = joined(|key| tags.get(key).map(String::as_str)).unwrap_or_default();
                let read = decode(&text).unwrap().into_iter();
                let read: Tags = read.map(|(key, value)| (key.into(), value.into())).collect();
                prop_assert_eq!(read, pairs);
            }
        }
    }

    #[test]
    fn a_file_system_is_kept_whole() {
        let kept = Filesystem {
            fstype: Fstype::Xfs,
            uuid: Uuid::from_u128(1),
            inherited: Some(Uuid::from_u128(2)),
            fresh: true,
            covers: Some(Size::gib(3)),
            unrecorded: false,
        };
        assert_eq!(filesystem(&of_filesystem(&kept), "vol-1").unwrap(), kept);
        let plain = Filesystem { inherited: None, fresh: false, covers: None, ..kept };
        assert_eq!(filesystem(&of_filesystem(&plain), "vol-1").unwrap(), plain);
    }

    #[test]
    fn a_new_file_system_is_that_of_its_volume_and_copied_as_such() {
        let new = Filesystem {
            fstype: Fstype::Ext4,
            uuid: Uuid::nil(),
            inherited: None,
            fresh: true,
            covers: None,
            unrecorded: false,
        };
        let text = of_filesystem(&new);
        let [one, other] = ["vol-1", "vol-2"].map(|id| filesystem(&text, id).unwrap().uuid);
        assert_ne!(one, other);
        let mut tags = BTreeMap::from([(FILESYSTEM.to_owned(), text)]);
        spell_out(&mut tags, "vol-1");
        assert_eq!(filesystem(&tags[FILESYSTEM], "vol-2").unwrap().uuid, one);
    }

    #[test]
    fn damaged_tags_are_errors_and_never_a_panic() {
        for text in ["", "uuid=x", "type=ext4_uuid=x", "type=ntfs_uuid=1", "@", "a=@Z", "=="] {
            assert!(filesystem(text, "vol-1").is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_that_no_disk_has_is_no_panic() {
        let text = "<item><volumeId>vol-1</volumeId><size>18446744073709551615</size><tagSet><item>\
            <key>Name</key><value>pg</value></item></tagSet></item>";
        let raw: aws::Volume = quick_xml::de::from_str(text).unwrap();
        let settings = Settings::parse(&BTreeMap::new()).unwrap();
        assert_eq!(volume(&settings, &raw).unwrap().size, Some(Size(u64::MAX)));
    }

    #[test]
    fn a_newer_record_is_refused_and_never_guessed() {
        let tags = BTreeMap::from([(RECORD.to_owned(), "v=2_size=1GiB".to_owned())]);
        let error = said(|key| tags.get(key).map(String::as_str)).err().expect("newer");
        assert!(error.message().contains("version 2"), "{error}");
    }

    #[test]
    fn a_derived_uuid_is_the_same_again() {
        assert_eq!(derived_uuid("a"), derived_uuid("a"));
        assert_ne!(derived_uuid("a"), derived_uuid("b"));
    }
}
