"""Enumerations, collections and scalars with their bounds. Grammar: see the package."""

from __future__ import annotations

FRAGMENTS = {
    "<ip>": r"(<octet>\.<octet>\.<octet>\.<octet>)<port>",
    "<octet>": r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)",
    "<port>": r"(:(6553[0-5]|655[0-2]\d|65[0-4]\d{2}|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3}))?",
}

ENUMS = """
ApplicationInstanceHealthStatus
  RUNNING ERROR NOT_AVAILABLE
ApplicationInstanceStatus
  DEPLOYMENT_PENDING DEPLOYMENT_REQUESTED DEPLOYMENT_IN_PROGRESS DEPLOYMENT_ERROR
  DEPLOYMENT_SUCCEEDED REMOVAL_PENDING REMOVAL_REQUESTED REMOVAL_IN_PROGRESS REMOVAL_FAILED
  REMOVAL_SUCCEEDED DEPLOYMENT_FAILED
ConnectionType
  STATIC_IP DHCP
DesiredState
  RUNNING STOPPED REMOVED
DeviceAggregatedStatus
  ERROR AWAITING_PROVISIONING PENDING FAILED DELETING ONLINE OFFLINE LEASE_EXPIRED UPDATE_NEEDED
  REBOOTING
DeviceBrand
  AWS_PANORAMA LENOVO
DeviceConnectionStatus
  ONLINE OFFLINE AWAITING_CREDENTIALS NOT_AVAILABLE ERROR
DeviceReportedStatus
  STOPPING STOPPED STOP_ERROR REMOVAL_FAILED REMOVAL_IN_PROGRESS STARTING RUNNING INSTALL_ERROR
  LAUNCHED LAUNCH_ERROR INSTALL_IN_PROGRESS
DeviceStatus
  AWAITING_PROVISIONING PENDING SUCCEEDED FAILED ERROR DELETING
DeviceType
  PANORAMA_APPLIANCE_DEVELOPER_KIT PANORAMA_APPLIANCE
JobResourceType
  PACKAGE
JobType
  OTA REBOOT
ListDevicesSortBy
  DEVICE_ID CREATED_TIME NAME DEVICE_AGGREGATED_STATUS
NetworkConnectionStatus
  CONNECTED NOT_CONNECTED CONNECTING
NodeCategory
  BUSINESS_LOGIC ML_MODEL MEDIA_SOURCE MEDIA_SINK
NodeFromTemplateJobStatus
  PENDING SUCCEEDED FAILED
NodeInstanceStatus
  RUNNING ERROR NOT_AVAILABLE PAUSED
NodeSignalValue
  PAUSE RESUME
PackageImportJobStatus
  PENDING SUCCEEDED FAILED
PackageImportJobType
  NODE_PACKAGE_VERSION MARKETPLACE_NODE_PACKAGE_VERSION
PackageVersionStatus
  REGISTER_PENDING REGISTER_COMPLETED FAILED DELETING
PortType
  BOOLEAN STRING INT32 FLOAT32 MEDIA
SortOrder
  ASCENDING DESCENDING
StatusFilter
  DEPLOYMENT_SUCCEEDED DEPLOYMENT_ERROR REMOVAL_SUCCEEDED REMOVAL_FAILED PROCESSING_DEPLOYMENT
  PROCESSING_REMOVAL DEPLOYMENT_FAILED
TemplateType
  RTSP_CAMERA_STREAM
UpdateProgress
  PENDING IN_PROGRESS VERIFYING REBOOTING DOWNLOADING COMPLETED FAILED
ValidationExceptionReason
  UNKNOWN_OPERATION CANNOT_PARSE FIELD_VALIDATION_FAILED OTHER
"""

COLLECTIONS = """
AlternateSoftwares AlternateSoftwareMetadata
ApplicationInstances ApplicationInstance
ConflictExceptionErrorArgumentList ConflictExceptionErrorArgument
DeviceIdList DeviceId 1..1
DeviceJobList DeviceJob
DeviceList Device
DnsList Dns
InputPortList NodeInputPort
JobList Job
JobTagsList JobResourceTags
NodeFromTemplateJobList NodeFromTemplateJob
NodeInstances NodeInstance
NodeSignalList NodeSignal 1..
NodesList Node
NtpServerList IpAddressOrServerName 0..5
OutputPortList NodeOutputPort
PackageImportJobList PackageImportJob
PackageList PackageListItem
PackageObjects PackageObject
PrincipalArnsList PrincipalArn
ReportedRuntimeContextStates ReportedRuntimeContextState
TagKeyList TagKey 1..50
TagMap TagKey:TagValue 0..50
TemplateParametersMap TemplateKey:TemplateValue
ValidationExceptionErrorArgumentList ValidationExceptionErrorArgument
ValidationExceptionFieldList ValidationExceptionField
"""

SCALARS = r"""
blob
  Certificates
boolean
  Boolean MarkLatestPatch
integer
  MaxConnections RetryAfterSeconds
integer 0..25
  MaxSize25
string
  Bucket NameFilter NodeFromTemplateJobStatusMessage Object PackageImportJobStatusMessage String
string 0..255 ^.*$
  Description
string 0..256 ^.*$
  TagValue
string 0..51200 ^.*$
  ManifestOverridesPayloadData
string 1..12 ^[0-9a-z\_]+$
  PackageOwnerAccount
string 1..128 ^.+$
  TagKey
string 1..128 ^[a-zA-Z0-9\-\_]+$
  NodeInstanceId NodeName NodePackageName
string 1..2048 ^.+$
  ResourceArn
string 1..255
  ApplicationInstanceArn ApplicationInstanceStatusDescription CurrentSoftware DeviceArn HwAddress
  IotThingName LatestAlternateSoftware LatestSoftware NodePackageArn NtpServerName
  PackageVersionStatusDescription PortDefaultValue Version
string 1..255 (^([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,}$)|(^<ip>$)
  IpAddressOrServerName
string 1..255 ^([0-9]+)\.([0-9]+)$
  NodePackageVersion
string 1..255 ^.+$
  BucketName DefaultGateway Dns ImageVersion Mask ObjectKey Region RuntimeContextName TemplateKey
string 1..255 ^<ip>$
  IpAddress
string 1..255 ^[a-z0-9]+$
  NodePackagePatchVersion
string 1..255 ^[a-zA-Z0-9\-\_\.]+$
  NodeId
string 1..255 ^[a-zA-Z0-9\-\_\/]+$
  NodePackageId
string 1..255 ^[a-zA-Z0-9\-\_]+$
  ApplicationInstanceId ApplicationInstanceName DefaultRuntimeContextDevice DeviceId DeviceName
  JobId NodeAssetName
string 1..255 ^arn:[a-z0-9][-.a-z0-9]{0,62}:iam::[0-9]{12}:[a-zA-Z0-9+=,.@\-_/]+$
  PrincipalArn
string 1..255 ^arn:[a-z0-9][-.a-z0-9]{0,62}:iam::[0-9]{12}:role/.+$
  RuntimeRoleArn
string 1..255 sensitive ^.+$
  TemplateValue
string 1..4096 ^.+$
  NextToken Token
string 1..50 ^[a-zA-Z0-9\_]+$
  PortName
string 1..51200 ^.+$
  ManifestPayloadData
string 1..64 ^[a-zA-Z0-9\-\_]+$
  ClientToken
string ^[0-9]{1,20}$
  DeviceSerialNumber
timestamp
  CreatedTime LastUpdatedTime LeaseExpirationTime TimeStamp UpdateCreatedTime
"""
