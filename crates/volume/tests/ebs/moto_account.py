"""An account of moto, a simulator of AWS that others have written, with one instance in it. Tells
where it is as one line of JSON, and ends when its standard input does.

Must not be in it: anything that makes moto behave otherwise than it does by itself."""

import json
import logging
import sys

import boto3
from moto.server import ThreadedMotoServer

REGION, ZONE = "us-east-1", "us-east-1a"

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://{host}:{port}"
ec2 = boto3.client("ec2", endpoint_url=endpoint, region_name=REGION)
image = ec2.describe_images()["Images"][0]["ImageId"]
(instance,) = ec2.run_instances(
    ImageId=image,
    InstanceType="m5.large",
    Placement={"AvailabilityZone": ZONE},
    MinCount=1,
    MaxCount=1,
)["Instances"]
account = {"endpoint": endpoint, "instance": instance["InstanceId"], "zone": ZONE, "region": REGION}
print(json.dumps(account), flush=True)
sys.stdin.read()
server.stop()
