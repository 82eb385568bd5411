"""Structures of packages, their versions, nodes, imports and cameras. Grammar: see the package."""

from __future__ import annotations

STRUCTURES = """
CreateNodeFromTemplateJobRequest
  JobTags:JobTagsList NodeDescription:Description NodeName* OutputPackageName*:NodePackageName
  OutputPackageVersion*:NodePackageVersion TemplateParameters*:TemplateParametersMap TemplateType*
CreateNodeFromTemplateJobResponse
  JobId*
CreatePackageImportJobRequest
  ClientToken* InputConfig*:PackageImportJobInputConfig JobTags:JobTagsList
  JobType*:PackageImportJobType OutputConfig*:PackageImportJobOutputConfig
CreatePackageImportJobResponse
  JobId*
CreatePackageRequest
  PackageName*:NodePackageName Tags:TagMap
CreatePackageResponse
  Arn:NodePackageArn PackageId:NodePackageId StorageLocation*
DeletePackageRequest
  ForceDelete:Boolean@query PackageId*:NodePackageId@uri
DeletePackageResponse
DeregisterPackageVersionRequest
  OwnerAccount:PackageOwnerAccount@query PackageId*:NodePackageId@uri
  PackageVersion*:NodePackageVersion@uri PatchVersion*:NodePackagePatchVersion@uri
  UpdatedLatestPatchVersion:NodePackagePatchVersion@query
DeregisterPackageVersionResponse
DescribeNodeFromTemplateJobRequest
  JobId*@uri
DescribeNodeFromTemplateJobResponse
  CreatedTime* JobId* JobTags:JobTagsList LastUpdatedTime* NodeDescription:Description NodeName*
  OutputPackageName*:NodePackageName OutputPackageVersion*:NodePackageVersion
  Status*:NodeFromTemplateJobStatus StatusMessage*:NodeFromTemplateJobStatusMessage
  TemplateParameters*:TemplateParametersMap TemplateType*
DescribeNodeRequest
  NodeId*@uri OwnerAccount:PackageOwnerAccount@query
DescribeNodeResponse
  AssetName:NodeAssetName Category*:NodeCategory CreatedTime*:TimeStamp Description*
  LastUpdatedTime*:TimeStamp Name*:NodeName NodeId* NodeInterface*
  OwnerAccount*:PackageOwnerAccount PackageArn:NodePackageArn PackageId*:NodePackageId
  PackageName*:NodePackageName PackageVersion*:NodePackageVersion
  PatchVersion*:NodePackagePatchVersion
DescribePackageImportJobRequest
  JobId*@uri
DescribePackageImportJobResponse
  ClientToken CreatedTime* InputConfig*:PackageImportJobInputConfig JobId* JobTags:JobTagsList
  JobType*:PackageImportJobType LastUpdatedTime* Output*:PackageImportJobOutput
  OutputConfig*:PackageImportJobOutputConfig Status*:PackageImportJobStatus
  StatusMessage*:PackageImportJobStatusMessage
DescribePackageRequest
  PackageId*:NodePackageId@uri
DescribePackageResponse
  Arn*:NodePackageArn CreatedTime*:TimeStamp PackageId*:NodePackageId PackageName*:NodePackageName
  ReadAccessPrincipalArns:PrincipalArnsList StorageLocation* Tags*:TagMap
  WriteAccessPrincipalArns:PrincipalArnsList
DescribePackageVersionRequest
  OwnerAccount:PackageOwnerAccount@query PackageId*:NodePackageId@uri
  PackageVersion*:NodePackageVersion@uri PatchVersion:NodePackagePatchVersion@query
DescribePackageVersionResponse
  IsLatestPatch*:Boolean OwnerAccount:PackageOwnerAccount PackageArn:NodePackageArn
  PackageId*:NodePackageId PackageName*:NodePackageName PackageVersion*:NodePackageVersion
  PatchVersion*:NodePackagePatchVersion RegisteredTime:TimeStamp Status*:PackageVersionStatus
  StatusDescription:PackageVersionStatusDescription
JobResourceTags
  ResourceType*:JobResourceType Tags*:TagMap
ListNodeFromTemplateJobsRequest
  MaxResults:MaxSize25@query NextToken@query
ListNodeFromTemplateJobsResponse
  NextToken NodeFromTemplateJobs*:NodeFromTemplateJobList
ListNodesRequest
  Category:NodeCategory@query=category MaxResults:MaxSize25@query=maxResults
  NextToken:Token@query=nextToken OwnerAccount:PackageOwnerAccount@query=ownerAccount
  PackageName:NodePackageName@query=packageName
  PackageVersion:NodePackageVersion@query=packageVersion
  PatchVersion:NodePackagePatchVersion@query=patchVersion
ListNodesResponse
  NextToken:Token Nodes:NodesList
ListPackageImportJobsRequest
  MaxResults:MaxSize25@query NextToken@query
ListPackageImportJobsResponse
  NextToken PackageImportJobs*:PackageImportJobList
ListPackagesRequest
  MaxResults:MaxSize25@query=maxResults NextToken:Token@query=nextToken
ListPackagesResponse
  NextToken Packages:PackageList
Node
  Category*:NodeCategory CreatedTime*:TimeStamp Description Name*:NodeName NodeId*
  OwnerAccount:PackageOwnerAccount PackageArn:NodePackageArn PackageId*:NodePackageId
  PackageName*:NodePackageName PackageVersion*:NodePackageVersion
  PatchVersion*:NodePackagePatchVersion
NodeFromTemplateJob
  CreatedTime JobId NodeName Status:NodeFromTemplateJobStatus
  StatusMessage:NodeFromTemplateJobStatusMessage TemplateType
NodeInputPort
  DefaultValue:PortDefaultValue Description MaxConnections Name:PortName Type:PortType
NodeInterface
  Inputs*:InputPortList Outputs*:OutputPortList
NodeOutputPort
  Description Name:PortName Type:PortType
OutPutS3Location
  BucketName* ObjectKey*
PackageImportJob
  CreatedTime JobId JobType:PackageImportJobType LastUpdatedTime Status:PackageImportJobStatus
  StatusMessage:PackageImportJobStatusMessage
PackageImportJobInputConfig
  PackageVersionInputConfig
PackageImportJobOutput
  OutputS3Location*:OutPutS3Location PackageId*:NodePackageId PackageVersion*:NodePackageVersion
  PatchVersion*:NodePackagePatchVersion
PackageImportJobOutputConfig
  PackageVersionOutputConfig
PackageListItem
  Arn:NodePackageArn CreatedTime:TimeStamp PackageId:NodePackageId PackageName:NodePackageName
  Tags:TagMap
PackageVersionInputConfig
  S3Location*
PackageVersionOutputConfig
  MarkLatest:MarkLatestPatch PackageName*:NodePackageName PackageVersion*:NodePackageVersion
RegisterPackageVersionRequest
  MarkLatest:MarkLatestPatch OwnerAccount:PackageOwnerAccount PackageId*:NodePackageId@uri
  PackageVersion*:NodePackageVersion@uri PatchVersion*:NodePackagePatchVersion@uri
RegisterPackageVersionResponse
S3Location
  BucketName* ObjectKey* Region
StorageLocation
  BinaryPrefixLocation*:Object Bucket* GeneratedPrefixLocation*:Object
  ManifestPrefixLocation*:Object RepoPrefixLocation*:Object
"""
