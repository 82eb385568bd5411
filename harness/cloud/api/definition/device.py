"""Structures of devices, their networks and their jobs. Grammar: see the package."""

from __future__ import annotations

STRUCTURES = """
AlternateSoftwareMetadata
  Version
CreateJobForDevicesRequest
  DeviceIds*:DeviceIdList DeviceJobConfig JobType*
CreateJobForDevicesResponse
  Jobs*:JobList
DeleteDeviceRequest
  DeviceId*@uri
DeleteDeviceResponse
  DeviceId
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
Device
  Brand:DeviceBrand CreatedTime CurrentSoftware Description DeviceAggregatedStatus DeviceId
  LastUpdatedTime LatestDeviceJob LeaseExpirationTime Name:DeviceName
  ProvisioningStatus:DeviceStatus Tags:TagMap Type:DeviceType
DeviceJob
  CreatedTime DeviceId DeviceName JobId JobType
DeviceJobConfig
  OTAJobConfig
EthernetPayload
  ConnectionType* StaticIpConnectionInfo
EthernetStatus
  ConnectionStatus:NetworkConnectionStatus HwAddress IpAddress
Job
  DeviceId JobId
LatestDeviceJob
  ImageVersion JobType Status:UpdateProgress
ListDevicesJobsRequest
  DeviceId@query MaxResults:MaxSize25@query NextToken@query
ListDevicesJobsResponse
  DeviceJobs:DeviceJobList NextToken
ListDevicesRequest
  DeviceAggregatedStatusFilter:DeviceAggregatedStatus@query MaxResults:MaxSize25@query
  NameFilter@query NextToken@query SortBy:ListDevicesSortBy@query SortOrder@query
ListDevicesResponse
  Devices*:DeviceList NextToken
NetworkPayload
  Ethernet0:EthernetPayload Ethernet1:EthernetPayload Ntp:NtpPayload
NetworkStatus
  Ethernet0Status:EthernetStatus Ethernet1Status:EthernetStatus LastUpdatedTime NtpStatus
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
StaticIpConnectionInfo
  DefaultGateway* Dns*:DnsList IpAddress* Mask*
UpdateDeviceMetadataRequest
  Description DeviceId*@uri
UpdateDeviceMetadataResponse
  DeviceId
"""
