"""The service API as data: operations, structures, enumerations, collections, scalars.

Facts of the service model of AWS Panorama, apiVersion 2019-07-24, as botocore 1.43.37 was the
last to carry it; the served part. One source of truth: routing, parsing, validation, answers and
the admin client all read these tables through `harness.cloud.api.load`.

Grammar. A line at the margin starts an entry, indented lines belong to it.

    OPERATIONS   Name, then METHOD uri, then the errors it answers (`...Exception` left out).
                 Its input is <Name>Request, its output <Name>Response.
    STRUCTURES   Name [union], then members `Member[*][:Shape][@place[=wire name]]`; a star means
                 required, the shape is the member's own name unless given, the place is the
                 body unless `uri`, `query` or `header` is given.
    ERRORS       Name and HTTP status, then members as above.
    ENUMS        Name, then values.
    COLLECTIONS  Name, Element (a list) or Key:Value (a map), then minimum..maximum of entries.
    SCALARS      type [minimum..maximum] [sensitive] [pattern], then the shapes that are so.
                 Bounds are lengths for strings. FRAGMENTS abbreviate patterns.
"""

from __future__ import annotations

FRAGMENTS = {
    "<ip>": r"(<octet>\.<octet>\.<octet>\.<octet>)<port>",
    "<octet>": r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)",
    "<port>": r"(:(6553[0-5]|655[0-2]\d|65[0-4]\d{2}|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3}))?",
}

OPERATIONS = """
ProvisionDevice
  POST /devices
  Conflict Validation AccessDenied ServiceQuotaExceeded InternalServer
DescribeDevice
  GET /devices/{DeviceId}
  Validation AccessDenied ResourceNotFound InternalServer
ListDevices
  GET /devices
  Conflict Validation AccessDenied InternalServer
DeleteDevice
  DELETE /devices/{DeviceId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
CreateJobForDevices
  POST /jobs
  Conflict Validation AccessDenied ResourceNotFound InternalServer
DescribeDeviceJob
  GET /jobs/{JobId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
CreatePackage
  POST /packages
  Conflict Validation AccessDenied InternalServer
RegisterPackageVersion
  PUT /packages/{PackageId}/versions/{PackageVersion}/patch/{PatchVersion}
  Conflict Validation AccessDenied InternalServer
DescribePackage
  GET /packages/metadata/{PackageId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
DescribePackageVersion
  GET /packages/metadata/{PackageId}/versions/{PackageVersion}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
CreateNodeFromTemplateJob
  POST /packages/template-job
  Conflict Validation AccessDenied InternalServer
DescribeNodeFromTemplateJob
  GET /packages/template-job/{JobId}
  Conflict Validation AccessDenied InternalServer
CreateApplicationInstance
  POST /application-instances
  Validation AccessDenied ServiceQuotaExceeded InternalServer
DescribeApplicationInstance
  GET /application-instances/{ApplicationInstanceId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
ListApplicationInstances
  GET /application-instances
  AccessDenied InternalServer
ListApplicationInstanceNodeInstances
  GET /application-instances/{ApplicationInstanceId}/node-instances
  AccessDenied InternalServer
RemoveApplicationInstance
  DELETE /application-instances/{ApplicationInstanceId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
"""

STRUCTURES = """
AlternateSoftwareMetadata
  Version
ApplicationInstance
  ApplicationInstanceId Arn:ApplicationInstanceArn CreatedTime:TimeStamp
  DefaultRuntimeContextDevice DefaultRuntimeContextDeviceName:DeviceName Description
  HealthStatus:ApplicationInstanceHealthStatus Name:ApplicationInstanceName
  RuntimeContextStates:ReportedRuntimeContextStates Status:ApplicationInstanceStatus
  StatusDescription:ApplicationInstanceStatusDescription Tags:TagMap
ConflictExceptionErrorArgument
  Name*:String Value*:String
CreateApplicationInstanceRequest
  ApplicationInstanceIdToReplace:ApplicationInstanceId DefaultRuntimeContextDevice* Description
  ManifestOverridesPayload ManifestPayload* Name:ApplicationInstanceName RuntimeRoleArn
  Tags:TagMap
CreateApplicationInstanceResponse
  ApplicationInstanceId*
CreateJobForDevicesRequest
  DeviceIds*:DeviceIdList DeviceJobConfig JobType*
CreateJobForDevicesResponse
  Jobs*:JobList
CreateNodeFromTemplateJobRequest
  JobTags:JobTagsList NodeDescription:Description NodeName* OutputPackageName*:NodePackageName
  OutputPackageVersion*:NodePackageVersion TemplateParameters*:TemplateParametersMap
  TemplateType*
CreateNodeFromTemplateJobResponse
  JobId*
CreatePackageRequest
  PackageName*:NodePackageName Tags:TagMap
CreatePackageResponse
  Arn:NodePackageArn PackageId:NodePackageId StorageLocation*
DeleteDeviceRequest
  DeviceId*@uri
DeleteDeviceResponse
  DeviceId
DescribeApplicationInstanceRequest
  ApplicationInstanceId*@uri
DescribeApplicationInstanceResponse
  ApplicationInstanceId ApplicationInstanceIdToReplace:ApplicationInstanceId
  Arn:ApplicationInstanceArn CreatedTime:TimeStamp DefaultRuntimeContextDevice
  DefaultRuntimeContextDeviceName:DeviceName Description
  HealthStatus:ApplicationInstanceHealthStatus LastUpdatedTime:TimeStamp
  Name:ApplicationInstanceName RuntimeContextStates:ReportedRuntimeContextStates RuntimeRoleArn
  Status:ApplicationInstanceStatus StatusDescription:ApplicationInstanceStatusDescription
  Tags:TagMap
DescribeDeviceJobRequest
  JobId*@uri
DescribeDeviceJobResponse
  CreatedTime:UpdateCreatedTime DeviceArn DeviceId DeviceName DeviceType ImageVersion JobId
  JobType Status:UpdateProgress
DescribeDeviceRequest
  DeviceId*@uri
DescribeDeviceResponse
  AlternateSoftwares Arn:DeviceArn Brand:DeviceBrand CreatedTime
  CurrentNetworkingStatus:NetworkStatus CurrentSoftware Description DeviceAggregatedStatus
  DeviceConnectionStatus DeviceId LatestAlternateSoftware LatestDeviceJob LatestSoftware
  LeaseExpirationTime Name:DeviceName NetworkingConfiguration:NetworkPayload
  ProvisioningStatus:DeviceStatus SerialNumber:DeviceSerialNumber Tags:TagMap Type:DeviceType
DescribeNodeFromTemplateJobRequest
  JobId*@uri
DescribeNodeFromTemplateJobResponse
  CreatedTime* JobId* JobTags:JobTagsList LastUpdatedTime* NodeDescription:Description NodeName*
  OutputPackageName*:NodePackageName OutputPackageVersion*:NodePackageVersion
  Status*:NodeFromTemplateJobStatus StatusMessage*:NodeFromTemplateJobStatusMessage
  TemplateParameters*:TemplateParametersMap TemplateType*
DescribePackageRequest
  PackageId*:NodePackageId@uri
DescribePackageResponse
  Arn*:NodePackageArn CreatedTime*:TimeStamp PackageId*:NodePackageId
  PackageName*:NodePackageName ReadAccessPrincipalArns:PrincipalArnsList StorageLocation*
  Tags*:TagMap WriteAccessPrincipalArns:PrincipalArnsList
DescribePackageVersionRequest
  OwnerAccount:PackageOwnerAccount@query PackageId*:NodePackageId@uri
  PackageVersion*:NodePackageVersion@uri PatchVersion:NodePackagePatchVersion@query
DescribePackageVersionResponse
  IsLatestPatch*:Boolean OwnerAccount:PackageOwnerAccount PackageArn:NodePackageArn
  PackageId*:NodePackageId PackageName*:NodePackageName PackageVersion*:NodePackageVersion
  PatchVersion*:NodePackagePatchVersion RegisteredTime:TimeStamp Status*:PackageVersionStatus
  StatusDescription:PackageVersionStatusDescription
Device
  Brand:DeviceBrand CreatedTime CurrentSoftware Description DeviceAggregatedStatus DeviceId
  LastUpdatedTime LatestDeviceJob LeaseExpirationTime Name:DeviceName
  ProvisioningStatus:DeviceStatus Tags:TagMap Type:DeviceType
DeviceJobConfig
  OTAJobConfig
EthernetPayload
  ConnectionType* StaticIpConnectionInfo
EthernetStatus
  ConnectionStatus:NetworkConnectionStatus HwAddress IpAddress
Job
  DeviceId JobId
JobResourceTags
  ResourceType*:JobResourceType Tags*:TagMap
LatestDeviceJob
  ImageVersion JobType Status:UpdateProgress
ListApplicationInstanceNodeInstancesRequest
  ApplicationInstanceId*@uri MaxResults:MaxSize25@query=maxResults NextToken@query=nextToken
ListApplicationInstanceNodeInstancesResponse
  NextToken NodeInstances
ListApplicationInstancesRequest
  DeviceId@query=deviceId MaxResults:MaxSize25@query=maxResults NextToken@query=nextToken
  StatusFilter@query=statusFilter
ListApplicationInstancesResponse
  ApplicationInstances NextToken
ListDevicesRequest
  DeviceAggregatedStatusFilter:DeviceAggregatedStatus@query MaxResults:MaxSize25@query
  NameFilter@query NextToken@query SortBy:ListDevicesSortBy@query SortOrder@query
ListDevicesResponse
  Devices*:DeviceList NextToken
ManifestOverridesPayload union
  PayloadData:ManifestOverridesPayloadData
ManifestPayload union
  PayloadData:ManifestPayloadData
NetworkPayload
  Ethernet0:EthernetPayload Ethernet1:EthernetPayload Ntp:NtpPayload
NetworkStatus
  Ethernet0Status:EthernetStatus Ethernet1Status:EthernetStatus LastUpdatedTime NtpStatus
NodeInstance
  CurrentStatus*:NodeInstanceStatus NodeId NodeInstanceId* NodeName PackageName:NodePackageName
  PackagePatchVersion:NodePackagePatchVersion PackageVersion:NodePackageVersion
NtpPayload
  NtpServers*:NtpServerList
NtpStatus
  ConnectionStatus:NetworkConnectionStatus IpAddress NtpServerName
OTAJobConfig
  AllowMajorVersionUpdate:Boolean ImageVersion*
ProvisionDeviceRequest
  Description Name*:DeviceName NetworkingConfiguration:NetworkPayload Tags:TagMap
ProvisionDeviceResponse
  Arn*:DeviceArn Certificates DeviceId IotThingName Status*:DeviceStatus
RegisterPackageVersionRequest
  MarkLatest:MarkLatestPatch OwnerAccount:PackageOwnerAccount PackageId*:NodePackageId@uri
  PackageVersion*:NodePackageVersion@uri PatchVersion*:NodePackagePatchVersion@uri
RegisterPackageVersionResponse
RemoveApplicationInstanceRequest
  ApplicationInstanceId*@uri
RemoveApplicationInstanceResponse
ReportedRuntimeContextState
  DesiredState* DeviceReportedStatus* DeviceReportedTime*:TimeStamp RuntimeContextName*
StaticIpConnectionInfo
  DefaultGateway* Dns*:DnsList IpAddress* Mask*
StorageLocation
  BinaryPrefixLocation*:Object Bucket* GeneratedPrefixLocation*:Object
  ManifestPrefixLocation*:Object RepoPrefixLocation*:Object
ValidationExceptionErrorArgument
  Name*:String Value*:String
ValidationExceptionField
  Message*:String Name*:String
"""

ERRORS = """
AccessDeniedException 403
  Message*:String
ConflictException 409
  ErrorArguments:ConflictExceptionErrorArgumentList ErrorId:String Message*:String
  ResourceId*:String ResourceType*:String
InternalServerException 500
  Message*:String RetryAfterSeconds@header=Retry-After
ResourceNotFoundException 404
  Message*:String ResourceId*:String ResourceType*:String
ServiceQuotaExceededException 402
  Message*:String QuotaCode*:String ResourceId:String ResourceType:String ServiceCode*:String
ValidationException 400
  ErrorArguments:ValidationExceptionErrorArgumentList ErrorId:String
  Fields:ValidationExceptionFieldList Message*:String Reason:ValidationExceptionReason
"""

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
NodeFromTemplateJobStatus
  PENDING SUCCEEDED FAILED
NodeInstanceStatus
  RUNNING ERROR NOT_AVAILABLE PAUSED
PackageVersionStatus
  REGISTER_PENDING REGISTER_COMPLETED FAILED DELETING
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
DeviceList Device
DnsList Dns
JobList Job
JobTagsList JobResourceTags
NodeInstances NodeInstance
NtpServerList IpAddressOrServerName 0..5
PrincipalArnsList PrincipalArn
ReportedRuntimeContextStates ReportedRuntimeContextState
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
integer 0..25
  MaxSize25
integer
  RetryAfterSeconds
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
string 1..255 (^([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,}$)|(^<ip>$)
  IpAddressOrServerName
string 1..255 ^<ip>$
  IpAddress
string 1..255 ^([0-9]+)\.([0-9]+)$
  NodePackageVersion
string 1..255 ^.+$
  DefaultGateway Dns ImageVersion Mask RuntimeContextName TemplateKey
string 1..255 sensitive ^.+$
  TemplateValue
string 1..255 ^[a-z0-9]+$
  NodePackagePatchVersion
string 1..255 ^[a-zA-Z0-9\-\_\.]+$
  NodeId
string 1..255 ^[a-zA-Z0-9\-\_\/]+$
  NodePackageId
string 1..255 ^[a-zA-Z0-9\-\_]+$
  ApplicationInstanceId ApplicationInstanceName DefaultRuntimeContextDevice DeviceId DeviceName
  JobId
string 1..255 ^arn:[a-z0-9][-.a-z0-9]{0,62}:iam::[0-9]{12}:[a-zA-Z0-9+=,.@\-_/]+$
  PrincipalArn
string 1..255 ^arn:[a-z0-9][-.a-z0-9]{0,62}:iam::[0-9]{12}:role/.+$
  RuntimeRoleArn
string 1..255
  ApplicationInstanceArn ApplicationInstanceStatusDescription CurrentSoftware DeviceArn
  HwAddress IotThingName LatestAlternateSoftware LatestSoftware NodePackageArn NtpServerName
  PackageVersionStatusDescription Version
string 1..4096 ^.+$
  NextToken
string 1..51200 ^.+$
  ManifestPayloadData
string ^[0-9]{1,20}$
  DeviceSerialNumber
string
  Bucket NameFilter NodeFromTemplateJobStatusMessage Object String
timestamp
  CreatedTime LastUpdatedTime LeaseExpirationTime TimeStamp UpdateCreatedTime
"""
