"""The control plane without I/O: what it knows, and what it answers to calls and messages."""
