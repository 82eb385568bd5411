"""The synthetic camera: a scene with ground truth, H.264, RTP and an RTSP server."""
