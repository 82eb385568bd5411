"""Cameras that are found and asked by ONVIF: discovery, Device and Media service, snapshots."""
