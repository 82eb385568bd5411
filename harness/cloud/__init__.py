"""The control plane: API, devices, jobs, packages, applications; served over HTTP and MQTT."""
