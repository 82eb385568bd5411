"""The control plane served for real: HTTP, MQTT, TLS, certificates, and a client of it."""
