"""Judges of the simulated account, by AWS's own SDK for Python: what it sends is taken, and what it
reads is what was meant. Called with the name of a judge; the account's addresses and keys come from
the environment, as they come to any program that uses boto3. What a judge makes is its own; it says
nothing when all is well.

Must not be in it: anything that knows how the simulator or the driver are made."""

import json
import os
import sys
import urllib.request

import boto3
import botocore.session
import botocore.utils
from botocore.config import Config
from botocore.exceptions import ClientError

from wire import Watch

# The machine that this program stands on, another one beside it, and one in another zone.
HERE, BESIDE, FAR = "i-0a", "i-0b", "i-0c"
ZONE, FAR_ZONE = "us-east-1a", "us-east-1b"
QUICK = {"Delay": 1, "MaxAttempts": 30}
ENDPOINT = os.environ["JUDGED_ENDPOINT"]


def client(service="ec2", **more):
    """A client as boto3 makes it, its answers watched."""
    more.setdefault("config", Config(retries={"total_max_attempts": 1}))
    made = boto3.client(service, endpoint_url=ENDPOINT, region_name="us-east-1", **more)
    return made, Watch(made)


def refused(code, call, status=None):
    """The call must fail with this code of AWS's."""
    try:
        call()
    except ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code, f"{found['Code']} instead of {code}: {found['Message']}"
        assert found["Message"], code
        meta = error.response["ResponseMetadata"]
        assert meta["RequestId"], f"{code} without a request ID"
        want = status or 400
        assert meta["HTTPStatusCode"] == want, f"{code}: {meta['HTTPStatusCode']}, not {want}"
        return
    raise AssertionError(f"{code} was not answered: the call succeeds")


def tags(kind, **pairs):
    return [{"ResourceType": kind, "Tags": [{"Key": k, "Value": v} for k, v in pairs.items()]}]


def create(ec2, size=1, zone=ZONE, **more):
    """A volume that can be used; its ID."""
    made = ec2.create_volume(AvailabilityZone=zone, Size=size, **{"VolumeType": "gp3", **more})
    ec2.get_waiter("volume_available").wait(VolumeIds=[made["VolumeId"]], WaiterConfig=QUICK)
    return made["VolumeId"]


def attach(ec2, volume, device="/dev/sdf", instance=HERE):
    ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device=device)
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume], WaiterConfig=QUICK)
    while one(ec2, volume)["Attachments"][0]["State"] == "attaching":
        pass


def detach(ec2, volume):
    ec2.detach_volume(VolumeId=volume)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=QUICK)


def one(ec2, volume):
    (found,) = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    return found


def admin(path, body):
    """A call of the simulator's admin API."""
    request = urllib.request.Request(f"{ENDPOINT}/_sim/{path}", json.dumps(body).encode(), method="POST")
    urllib.request.urlopen(request).read()


def life():
    """A volume from its creation to its end, with every field of every answer checked."""
    ec2, watch = client()
    asked = dict(AvailabilityZone=ZONE, Size=10, VolumeType="gp3", Iops=4000, Throughput=250)
    asked |= dict(Encrypted=True, ClientToken="life", TagSpecifications=tags("volume", Name="pg data", team="ä&<b>"))
    made = ec2.create_volume(**asked)
    again = ec2.create_volume(**asked)
    assert made["VolumeId"] == again["VolumeId"], "one token, two volumes"
    volume = made["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=QUICK)
    found = one(ec2, volume)
    assert (found["Size"], found["Iops"], found["Throughput"]) == (10, 4000, 250), found
    assert found["Encrypted"] is True and found["MultiAttachEnabled"] is False, found
    assert {t["Key"]: t["Value"] for t in found["Tags"]} == {"Name": "pg data", "team": "ä&<b>"}
    assert abs((found["CreateTime"] - made["CreateTime"]).total_seconds()) < 1

    attach(ec2, volume)
    (attachment,) = one(ec2, volume)["Attachments"]
    assert (attachment["InstanceId"], attachment["Device"]) == (HERE, "/dev/sdf"), attachment
    assert attachment["DeleteOnTermination"] is False, attachment
    (reservation,) = ec2.describe_instances(InstanceIds=[HERE])["Reservations"]
    (instance,) = reservation["Instances"]
    mapped = {m["DeviceName"]: m["Ebs"]["VolumeId"] for m in instance["BlockDeviceMappings"]}
    assert mapped["/dev/sdf"] == volume, mapped
    assert instance["Placement"]["AvailabilityZone"] == ZONE, instance

    snapshot = ec2.create_snapshot(VolumeId=volume, TagSpecifications=tags("snapshot", of="pg"))["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=QUICK)
    (taken,) = ec2.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "tag:of", "Values": ["pg"]}])["Snapshots"]
    assert (taken["VolumeId"], taken["VolumeSize"], taken["Progress"]) == (volume, 10, "100%"), taken
    copy = create(ec2, size=11, SnapshotId=snapshot)
    assert (one(ec2, copy)["SnapshotId"], one(ec2, copy)["Encrypted"]) == (snapshot, True)

    changed = ec2.modify_volume(VolumeId=copy, Size=12, Iops=5000)["VolumeModification"]
    assert (changed["OriginalSize"], changed["TargetSize"]) == (11, 12), changed
    last = ec2.describe_volumes_modifications(VolumeIds=[copy])["VolumesModifications"]
    assert [one["TargetIops"] for one in last] == [5000], last
    assert one(ec2, copy)["Size"] == 12

    ec2.create_tags(Resources=[copy], Tags=[{"Key": "empty", "Value": ""}])
    ec2.delete_tags(Resources=[copy], Tags=[{"Key": "nothing"}])
    listed = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [copy]}])["Tags"]
    assert [(t["Key"], t["Value"], t["ResourceType"]) for t in listed] == [("empty", "", "volume")], listed

    detach(ec2, volume)
    for gone in (volume, copy):
        ec2.delete_volume(VolumeId=gone)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig=QUICK)
    ec2.delete_snapshot(SnapshotId=snapshot)
    assert watch.calls > 20 and watch.leaves > 200, (watch.calls, watch.leaves)
    assert watch.types >= {"string", "integer", "boolean", "timestamp"}, watch.types


def places():
    """What is there besides volumes: zones, regions, types of instances, the state of volumes."""
    ec2, watch = client()
    create(ec2)
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert {ZONE, FAR_ZONE} <= {zone["ZoneName"] for zone in zones}, zones
    assert "us-east-1" in {region["RegionName"] for region in ec2.describe_regions()["Regions"]}
    (kind,) = ec2.describe_instance_types(InstanceTypes=["m5.large"])["InstanceTypes"]
    assert kind["EbsInfo"]["MaximumEbsAttachments"] > 20 and kind["BareMetal"] is False, kind
    states = ec2.describe_volume_status()["VolumeStatuses"]
    assert {state["VolumeStatus"]["Status"] for state in states} == {"ok"}, states
    snapshot = ec2.create_snapshot(VolumeId=create(ec2))["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=QUICK)
    restore = dict(SourceSnapshotIds=[snapshot], AvailabilityZones=[ZONE])
    assert ec2.enable_fast_snapshot_restores(**restore)["Successful"][0]["SnapshotId"] == snapshot
    assert ec2.describe_fast_snapshot_restores()["FastSnapshotRestores"][0]["AvailabilityZone"] == ZONE
    ended = ec2.disable_fast_snapshot_restores(**restore)["Successful"]
    assert ended[0]["State"] in ("disabling", "disabled"), ended
    copied = ec2.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot)["SnapshotId"]
    assert copied != snapshot
    cloned = ec2.copy_volumes(SourceVolumeId=create(ec2), Size=2)["Volumes"]
    assert [volume["Size"] for volume in cloned] == [2], cloned
    assert watch.calls >= 15, watch.calls


def pages():
    """The paginator sees each volume once, and no page has more than was asked for."""
    ec2, _ = client()
    mark = tags("volume", page="yes")
    made = {create(ec2, TagSpecifications=mark) for _ in range(13)}
    wanted = [{"Name": "tag:page", "Values": ["yes"]}]
    found = ec2.get_paginator("describe_volumes").paginate(Filters=wanted, PaginationConfig={"PageSize": 5})
    sizes, seen = [], []
    for page in found:
        sizes.append(len(page["Volumes"]))
        seen += [volume["VolumeId"] for volume in page["Volumes"]]
    assert sizes == [5, 5, 3], sizes
    assert len(seen) == len(set(seen)) and set(seen) == made, seen
    several = [{"Name": "volume-id", "Values": sorted(made)[:3]}, {"Name": "status", "Values": ["avail*"]}]
    assert len(ec2.describe_volumes(Filters=several)["Volumes"]) == 3
    refused("InvalidPaginationToken", lambda: ec2.describe_volumes(NextToken="bogus"))
    refused("InvalidParameterCombination", lambda: ec2.describe_volumes(VolumeIds=seen[:1], MaxResults=5))


def refusals():
    """boto3 raises an error with AWS's code for whatever EC2 does not take."""
    ec2, _ = client()
    volume, other, far = create(ec2), create(ec2), create(ec2, zone=FAR_ZONE)
    small = dict(AvailabilityZone=ZONE, Size=1)
    missing, nobody = "vol-0123456789abcdef0", "i-0123456789abcdef0"

    def attaching(volume, instance=HERE, device="/dev/sdg"):
        return lambda: ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device=device)

    refused("InvalidVolume.NotFound", lambda: ec2.describe_volumes(VolumeIds=[missing]))
    refused("InvalidVolume.NotFound", attaching(missing))
    refused("InvalidInstanceID.NotFound", attaching(volume, nobody))
    refused("InvalidVolume.ZoneMismatch", attaching(far))
    refused("InvalidParameterValue", attaching(volume, device="nonsense"))
    refused("IncorrectState", lambda: ec2.detach_volume(VolumeId=volume))
    attach(ec2, volume)
    refused("VolumeInUse", attaching(volume, BESIDE))
    refused("InvalidParameterValue", attaching(other, device="/dev/sdf"))
    refused("VolumeInUse", lambda: ec2.delete_volume(VolumeId=volume))
    refused("InvalidAttachment.NotFound", lambda: ec2.detach_volume(VolumeId=volume, InstanceId=BESIDE))
    refused("InvalidSnapshot.NotFound", lambda: ec2.delete_snapshot(SnapshotId="snap-0123456789abcdef0"))
    refused("InvalidZone.NotFound", lambda: ec2.create_volume(AvailabilityZone="us-east-1z", Size=1))
    refused("UnknownVolumeType", lambda: ec2.create_volume(VolumeType="gp9", **small))
    refused("InvalidParameterCombination", lambda: ec2.create_volume(VolumeType="gp2", Throughput=200, **small))
    refused("MissingParameter", lambda: ec2.create_volume(AvailabilityZone=ZONE, Size=4, VolumeType="io1"))
    refused("InvalidParameterDependency", lambda: ec2.create_volume(KmsKeyId="alias/x", **small))
    ec2.create_volume(ClientToken="once", **small)
    refused("IdempotentParameterMismatch", lambda: ec2.create_volume(AvailabilityZone=ZONE, Size=2, ClientToken="once"))
    ec2.modify_volume(VolumeId=other, Size=2)
    refused("InvalidParameterValue", lambda: ec2.modify_volume(VolumeId=other, Size=1))
    one(ec2, other)
    refused("VolumeModificationRateExceeded", lambda: ec2.modify_volume(VolumeId=other, Size=3))
    many = [{"Key": str(number), "Value": ""} for number in range(51)]
    refused("TagLimitExceeded", lambda: ec2.create_tags(Resources=[other], Tags=many))
    refused("DryRunOperation", lambda: ec2.create_volume(DryRun=True, **small), 412)
    refused("DryRunOperation", lambda: ec2.describe_volumes(DryRun=True), 412)
    refused("UnsupportedOperation", lambda: ec2.modify_volume(VolumeId=volume, MultiAttachEnabled=True))
    detach(ec2, volume)


def keys():
    """Keys that are not the account's are refused, and what is not allowed is said as AWS says it."""
    key = os.environ["AWS_ACCESS_KEY_ID"]
    wrong = dict(aws_access_key_id=key, aws_secret_access_key="wrong")
    stranger, _ = client(aws_access_key_id="AKIASTRANGER", aws_secret_access_key="wrong")
    refused("AuthFailure", stranger.describe_volumes, 401)
    forger, _ = client(**wrong)
    refused("SignatureDoesNotMatch", forger.describe_volumes, 403)
    forger, _ = client("sts", **wrong)
    refused("SignatureDoesNotMatch", forger.get_caller_identity, 403)
    ec2, _ = client()
    admin("faults", {"effect": "deny", "action": "DeleteVolume"})
    refused("UnauthorizedOperation", lambda: ec2.delete_volume(VolumeId=create(ec2)), 403)
    sts, watch = client("sts")
    caller = sts.get_caller_identity()
    assert caller["Account"] == "111122223333" and ":user/" in caller["Arn"], caller
    assert watch.calls == 1


def patience():
    """boto3 repeats what was throttled, by the code and the status that AWS uses for it."""
    ec2, _ = client(config=Config(retries={"mode": "standard", "total_max_attempts": 4}))
    admin("faults", {"effect": "throttle", "action": "DescribeVolumes", "times": 2})
    answer = ec2.describe_volumes()
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2, answer["ResponseMetadata"]
    admin("faults", {"effect": "throttle", "action": "DescribeVolumes", "times": 4})
    refused("RequestLimitExceeded", ec2.describe_volumes, 503)


def metadata():
    """boto3's own provider of an instance's credentials finds them at the metadata service."""
    assert not any(name.startswith("AWS_ACCESS") for name in os.environ)
    session = botocore.session.get_session()
    found = session.get_credentials()
    assert found.method == "iam-role", found.method
    frozen = found.get_frozen_credentials()
    assert frozen.access_key.startswith("ASIA") and frozen.token, frozen.access_key
    assert not found.refresh_needed(), "they end at once"
    assert botocore.utils.IMDSRegionProvider(session).provide() == "us-east-1"
    sts, _ = client("sts")
    arn = sts.get_caller_identity()["Arn"]
    assert ":assumed-role/" in arn and arn.endswith(f"/{HERE}"), arn
    ec2, _ = client()
    create(ec2)
    # Of another's session nothing can be done with the same key.
    thief, _ = client(
        aws_access_key_id=frozen.access_key,
        aws_secret_access_key=frozen.secret_key,
        aws_session_token="stolen",
    )
    refused("AuthFailure", thief.describe_volumes, 401)


JUDGES = {f.__name__: f for f in (life, places, pages, refusals, keys, patience, metadata)}

if __name__ == "__main__":
    JUDGES[sys.argv[1]]()
