"""Cameras that answer: the RTSP server, sessions, transports, and what each reader was sent."""
