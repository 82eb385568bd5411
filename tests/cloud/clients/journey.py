"""A life of everything the service knows, through an unmodified boto3: run as a program.

    journey.py <endpoint> <facts>

`facts` is a JSON file: `prefix` of all names, `device` (registered and online), `image`,
`uploads` (key below the package's prefix -> base64), `patch`, `archive` (base64), `graph` and
`overrides`. Prints what each operation answered, as the shape of the answer, and each error it
provoked. Needs nothing but boto3, so that it runs in any environment.
"""

from __future__ import annotations

import base64
import datetime
import json
import sys
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from botocore.exceptions import ClientError


def shape(value: Any) -> Any:
    """What a value is made of, without what differs from run to run."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    if isinstance(value, datetime.datetime):
        return "time"
    return type(value).__name__


class Journey:
    def __init__(self, endpoint: str, facts: dict[str, Any]) -> None:
        settings = {
            "endpoint_url": endpoint,
            "config": Config(retries={"max_attempts": 0}, connect_timeout=10, read_timeout=20),
        }
        self.client = boto3.client("panorama", **settings)
        self.s3 = boto3.client("s3", **settings)
        self.facts = facts
        self.answers: dict[str, Any] = {}
        self.errors: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        """A method of the client, whose answer is noted."""
        operation = self.client.meta.method_to_api_mapping[name]

        def call(**parameters: Any) -> Any:
            answer = getattr(self.client, name)(**parameters)
            about = answer.pop("ResponseMetadata")
            assert about["HTTPStatusCode"] == 200, about
            self.answers.setdefault(operation, shape(answer))
            return answer

        return call

    def refused(self, name: str, error: str, **parameters: Any) -> None:
        """The call is answered with this modelled error."""
        kind = getattr(self.client.exceptions, error)
        try:
            getattr(self.client, name)(**parameters)
        except kind as refused:
            self.errors.append([name, error, shape(self.told(refused))])
        else:
            raise AssertionError(f"{name} was not refused")

    @staticmethod
    def told(error: ClientError) -> dict[str, Any]:
        answer = dict(error.response)
        status = answer.pop("ResponseMetadata")["HTTPStatusCode"]
        return {**answer, f"status {status}": ""}

    def name(self, plain: str) -> str:
        return f"{self.facts['prefix']}-{plain}"

    def run(self) -> None:
        self.devices()
        self.packages()
        self.imports()
        self.cameras()
        self.applications()
        self.jobs()
        self.leaving()

    def devices(self) -> None:
        name = self.name("spare")
        made = self.provision_device(Name=name, Tags={"site": "a"}, Description="spare")
        assert made["Certificates"][:2] == b"PK"
        device = made["DeviceId"]
        self.update_device_metadata(DeviceId=device, Description="changed")
        assert self.describe_device(DeviceId=device)["Description"] == "changed"
        listed = self.list_devices(NameFilter=name, SortBy="NAME", SortOrder="DESCENDING")
        assert [entry["DeviceId"] for entry in listed["Devices"]] == [device]
        self.tag_resource(ResourceArn=made["Arn"], Tags={"floor": "1"})
        self.untag_resource(ResourceArn=made["Arn"], TagKeys=["site"])
        assert self.list_tags_for_resource(ResourceArn=made["Arn"])["Tags"] == {"floor": "1"}
        self.refused("provision_device", "ConflictException", Name=name)
        self.refused("provision_device", "ValidationException", Name="no spaces")
        self.delete_device(DeviceId=device)
        self.refused("describe_device", "ResourceNotFoundException", DeviceId=device)

    def packages(self) -> None:
        made = self.create_package(PackageName=self.name("counter"))
        self.package = made["PackageId"]
        bucket, prefix = made["StorageLocation"]["Bucket"], made["StorageLocation"]
        for key, data in self.facts["uploads"].items():
            place, _, rest = key.partition("/")
            where = f"{prefix[place]}/{rest}"
            self.s3.put_object(Bucket=bucket, Key=where, Body=base64.b64decode(data))
        version = {"PackageId": self.package, "PackageVersion": "1.0"}
        self.register_package_version(**version, PatchVersion=self.facts["patch"], MarkLatest=True)
        found = self.describe_package_version(**version)
        assert found["Status"] == "REGISTER_COMPLETED", found
        self.create_package(PackageName=self.name("empty"))
        by_name = self.describe_package(PackageId=f"packageName/{self.name('counter')}")
        assert by_name["PackageId"] == self.package
        names: list[str] = []
        more: dict[str, str] = {}
        while not names or more:
            page = self.list_packages(MaxResults=1, **more)
            names += [entry["PackageName"] for entry in page["Packages"]]
            more = {"NextToken": page["NextToken"]} if "NextToken" in page else {}
        assert {self.name("counter"), self.name("empty")} <= set(names)
        self.delete_package(PackageId=f"packageName/{self.name('empty')}")

    def imports(self) -> None:
        bucket, key = self.name("uploads"), self.name("counter.tar.gz")
        self.s3.create_bucket(Bucket=bucket)
        self.s3.put_object(Bucket=bucket, Key=key, Body=base64.b64decode(self.facts["archive"]))
        where = {"S3Location": {"BucketName": bucket, "ObjectKey": key}}
        made = {"PackageName": self.name("imported"), "PackageVersion": "1.0"}
        job = self.create_package_import_job(
            ClientToken=self.name("token"),
            JobType="NODE_PACKAGE_VERSION",
            InputConfig={"PackageVersionInputConfig": where},
            OutputConfig={"PackageVersionOutputConfig": made},
        )["JobId"]
        found = self.describe_package_import_job(JobId=job)
        assert found["Status"] == "SUCCEEDED", found
        self.imported = found["Output"]
        jobs = self.list_package_import_jobs()["PackageImportJobs"]
        assert job in [entry["JobId"] for entry in jobs]

    def cameras(self) -> None:
        camera = self.name("door")
        job = self.create_node_from_template_job(
            TemplateType="RTSP_CAMERA_STREAM",
            NodeName=camera,
            OutputPackageName=camera,
            OutputPackageVersion="1.0",
            TemplateParameters={"StreamUrl": "rtsp://127.0.0.1/door", "Password": "secret"},
        )["JobId"]
        found = self.describe_node_from_template_job(JobId=job)
        assert found["TemplateParameters"]["Password"] == "SAVED_AS_SECRET"
        self.list_node_from_template_jobs(MaxResults=25)
        (node,) = self.list_nodes(Category="MEDIA_SOURCE", PackageName=camera)["Nodes"]
        assert self.describe_node(NodeId=node["NodeId"])["Name"] == camera
        own = self.list_nodes(OwnerAccount="panorama")["Nodes"]
        assert {entry["PackageName"] for entry in own} == {
            "abstract_rtsp_media_source",
            "hdmi_data_sink",
        }

    def applications(self) -> None:
        made = self.create_application_instance(
            Name=self.name("counter"),
            DefaultRuntimeContextDevice=self.facts["device"],
            ManifestPayload={"PayloadData": json.dumps(self.facts["graph"])},
            ManifestOverridesPayload={"PayloadData": json.dumps(self.facts["overrides"])},
        )
        query = {"ApplicationInstanceId": made["ApplicationInstanceId"]}
        assert self.describe_application_instance(**query)["Status"] == "DEPLOYMENT_REQUESTED"
        details = self.describe_application_instance_details(**query)
        assert json.loads(details["ManifestPayload"]["PayloadData"]) == self.facts["graph"]
        self.list_application_instances(
            DeviceId=self.facts["device"], StatusFilter="PROCESSING_DEPLOYMENT"
        )
        nodes = self.list_application_instance_node_instances(**query)["NodeInstances"]
        assert self.name("door") in [node["NodeInstanceId"] for node in nodes]
        self.list_application_instance_dependencies(**query)
        signals = [{"NodeInstanceId": self.name("door"), "Signal": "PAUSE"}]
        self.signal_application_instance_node_instances(**query, NodeSignals=signals)
        self.refused(
            "delete_package", "ConflictException", PackageId=self.package, ForceDelete=True
        )
        self.remove_application_instance(**query)
        self.refused("remove_application_instance", "ConflictException", **query)

    def jobs(self) -> None:
        config = {"OTAJobConfig": {"ImageVersion": self.facts["image"]}}
        jobs = self.create_job_for_devices(
            DeviceIds=[self.facts["device"]], JobType="OTA", DeviceJobConfig=config
        )["Jobs"]
        assert self.describe_device_job(JobId=jobs[0]["JobId"])["Status"] == "PENDING"
        listed = self.list_devices_jobs(DeviceId=self.facts["device"])["DeviceJobs"]
        assert [job["JobId"] for job in listed] == [jobs[0]["JobId"]]

    def leaving(self) -> None:
        version = {key: self.imported[key] for key in ("PackageId", "PackageVersion")}
        self.deregister_package_version(**version, PatchVersion=self.imported["PatchVersion"])
        self.refused("describe_package_version", "ResourceNotFoundException", **version)
        package = version["PackageId"]
        self.refused("delete_package", "ConflictException", PackageId=package)
        self.delete_package(PackageId=package, ForceDelete=True)


def main() -> None:
    endpoint, facts = sys.argv[1:]
    with open(facts, encoding="utf-8") as file:
        journey = Journey(endpoint, json.load(file))
    journey.run()
    version = boto3.__version__
    sys.stdout.write(
        json.dumps({"boto3": version, "answers": journey.answers, "errors": journey.errors})
    )


if __name__ == "__main__":
    main()
