"""Protocols and payloads a camera speaks: bytes in, events out. No clock, one socket: TLS's."""
