"""The operations, and the errors they answer. Grammar: see the package."""

from __future__ import annotations

OPERATIONS = """
CreateApplicationInstance  Deploys an application to a device, or replaces one that runs there.
  POST /application-instances
  Validation AccessDenied ServiceQuotaExceeded InternalServer
CreateJobForDevices  Updates the software of a device, or reboots it.
  POST /jobs
  Conflict Validation AccessDenied ResourceNotFound InternalServer
CreateNodeFromTemplateJob  Registers an RTSP camera as a package with one media source.
  POST /packages/template-job
  Conflict Validation AccessDenied InternalServer
CreatePackage  Makes a package and says where its files are uploaded.
  POST /packages
  Conflict Validation AccessDenied InternalServer
CreatePackageImportJob  Imports a package version from an archive in the object store.
  POST /packages/import-jobs
  Conflict Validation AccessDenied InternalServer
DeleteDevice  Deregisters a device; its certificate no longer connects.
  DELETE /devices/{DeviceId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
DeletePackage  Deletes a package; with ForceDelete also one that has versions.
  DELETE /packages/{PackageId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
DeregisterPackageVersion  Deregisters one patch of a package version.
  DELETE /packages/{PackageId}/versions/{PackageVersion}/patch/{PatchVersion}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
DescribeApplicationInstance  Says how a deployment stands.
  GET /application-instances/{ApplicationInstanceId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
DescribeApplicationInstanceDetails  Gives the manifest and overrides an instance was deployed with.
  GET /application-instances/{ApplicationInstanceId}/details
  Conflict Validation AccessDenied ResourceNotFound InternalServer
DescribeDevice  Says how a device is, what it runs and what it is doing.
  GET /devices/{DeviceId}
  Validation AccessDenied ResourceNotFound InternalServer
DescribeDeviceJob  Says how far an update or a reboot has come.
  GET /jobs/{JobId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
DescribeNode  Gives a node of a package with its inputs and outputs.
  GET /nodes/{NodeId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
DescribeNodeFromTemplateJob  Says how the registration of a camera stands.
  GET /packages/template-job/{JobId}
  Conflict Validation AccessDenied InternalServer
DescribePackage  Gives a package and where its files are.
  GET /packages/metadata/{PackageId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
DescribePackageImportJob  Says how an import stands and what came of it.
  GET /packages/import-jobs/{JobId}
  Conflict Validation AccessDenied InternalServer
DescribePackageVersion  Says how the registration of a package version stands.
  GET /packages/metadata/{PackageId}/versions/{PackageVersion}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
ListApplicationInstanceDependencies  Lists the package versions an instance was deployed from.
  GET /application-instances/{ApplicationInstanceId}/package-dependencies
  AccessDenied InternalServer
ListApplicationInstanceNodeInstances  Lists the nodes of an instance and how each of them is.
  GET /application-instances/{ApplicationInstanceId}/node-instances
  AccessDenied InternalServer
ListApplicationInstances  Lists deployments, of one device or in some state if asked.
  GET /application-instances
  AccessDenied InternalServer
ListDevices  Lists devices, filtered and sorted.
  GET /devices
  Conflict Validation AccessDenied InternalServer
ListDevicesJobs  Lists updates and reboots, of one device if asked.
  GET /jobs
  Conflict Validation AccessDenied ResourceNotFound InternalServer
ListNodeFromTemplateJobs  Lists registrations of cameras.
  GET /packages/template-job
  Conflict Validation AccessDenied InternalServer
ListNodes  Lists nodes that applications can be made of.
  GET /nodes
  Conflict Validation InternalServer
ListPackageImportJobs  Lists imports.
  GET /packages/import-jobs
  Conflict Validation AccessDenied InternalServer
ListPackages  Lists packages.
  GET /packages
  Conflict Validation AccessDenied ResourceNotFound InternalServer
ListTagsForResource  Gives the tags of a device, a package or an instance.
  GET /tags/{ResourceArn}
  Validation ResourceNotFound InternalServer
ProvisionDevice  Registers a device and gives the archive for its USB stick.
  POST /devices
  Conflict Validation AccessDenied ServiceQuotaExceeded InternalServer
RegisterPackageVersion  Makes a version of a package out of what was uploaded.
  PUT /packages/{PackageId}/versions/{PackageVersion}/patch/{PatchVersion}
  Conflict Validation AccessDenied InternalServer
RemoveApplicationInstance  Removes an application from its device.
  DELETE /application-instances/{ApplicationInstanceId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
SignalApplicationInstanceNodeInstances  Pauses or resumes camera nodes of a running instance.
  PUT /application-instances/{ApplicationInstanceId}/node-signals
  Validation AccessDenied ServiceQuotaExceeded InternalServer
TagResource  Sets tags of a device, a package or an instance.
  POST /tags/{ResourceArn}
  Validation ResourceNotFound InternalServer
UntagResource  Takes tags from a device, a package or an instance.
  DELETE /tags/{ResourceArn}
  Validation ResourceNotFound InternalServer
UpdateDeviceMetadata  Changes the description of a device.
  PUT /devices/{DeviceId}
  Conflict Validation AccessDenied ResourceNotFound InternalServer
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

ERROR_STRUCTURES = """
ConflictExceptionErrorArgument
  Name*:String Value*:String
ValidationExceptionErrorArgument
  Name*:String Value*:String
ValidationExceptionField
  Message*:String Name*:String
"""
