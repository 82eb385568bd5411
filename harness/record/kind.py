"""The vocabulary of the history: every kind of event, who writes it, and its values.

Checkers and reports rely on these names; engines write them. Times are engine seconds,
`duration_s` is measured by the same clock as `Event.t_s`.
"""

# The run itself (source `scenario`)
RUN_STARTED = "run.started"  # plan (digest), time_scale
RUN_ENDED = "run.ended"  # outcome: completed | interrupted | failed, error
PHASE_STARTED = "phase.started"  # phase: bring-up | workload | convergence
STEP_STARTED = "step.started"  # step (text), action, index ("3" or "3.1.2" inside parallel)
STEP_ENDED = "step.ended"  # step, action (provision|deploy|...), index, ok, duration_s, error

# The appliance (source `appliance/<name>`)
BOARD = "board.window"  # see below
# board.window, every 10 s of virtual time while applications run: power_w, temperature_c,
# clock_share (what heat leaves of the clocks), and how busy each part is, 0 to 1: cpu, gpu, dla,
# decode, encode, memory; above 1 more is asked of it than it has
THROTTLED = "board.throttled"  # temperature_c
UNTHROTTLED = "board.unthrottled"  # temperature_c
POWERED = "appliance.powered"  # {}
BOOTED = "appliance.booted"  # slot, version, committed, fuse_level, duration_s
BOOT_REFUSED = "boot.refused"  # slot, part: manifest|bootloader|tee|kernel|root, reason
STOPPED = "appliance.stopped"  # reason: reboot | power-cut | power-button | no-bootable-slot ...
RESTORED = "restore.ended"  # what: latest | required | factory, slot, ok, reason
STATE = "appliance.state"  # booting|restoring|provisioning|connecting|online|offline|failed
LED = "panel.led"  # led: status | network, colour, pattern: steady|slow|fast|off
EGRESS = "egress.ended"  # file, bytes, ok, reason
PROVISIONED = "provision.ended"  # device, duration_s
LINK_CONNECTED = "link.connected"  # attempt, duration_s (since first try or since loss)
LINK_LOST = "link.lost"  # reason
LINK_REFUSED = "link.refused"  # reason, attempt
SLOTS = "boot.control"  # active, slots: {a: {bootable, successful, tries}}, fuse_level
RENEWED = "certificate.renewed"  # expires_s
OTA_READINESS = "ota.readiness"  # job, way_back, spare_boots, reason: what the slots can do
OTA_PHASE = "ota.phase"  # job, phase: downloading|verifying|writing|rebooting|health-check|...
OTA_ENDED = "ota.ended"  # job, outcome, version_from, version_to, duration_s, reason
JOB_REPORTED = "job.reported"  # job, status (UpdateProgress)
STORAGE_TROUBLE = "storage.trouble"  # partition, trouble: read-only | full | slow
STORAGE_CLEAR = "storage.clear"  # partition, trouble, lasted_s
PORT = "network.port"  # port: eth0 | eth1, cable, address (empty: none)
CLOCK_WRONG = "clock.wrong"  # clock_s (what it shows), reason: it was never set, or set wrong
CLOCK_RIGHT = "clock.synchronised"  # server, set_by_s (0: it was right)
CLOCK_ALONE = "clock.unsynchronised"  # reason
NODE_STARTED = "node.started"  # instance, attempt
NODE_SIGNALLED = "node.signalled"  # instance, paused (names of camera nodes)
NODE_ENDED = "node.ended"  # instance, code, reason
USAGE = "device.usage"  # in bytes, every 6 h of device time: memory_used_bytes, memory_total_bytes,
# storage_used_bytes, storage_total_bytes, asset_bytes, log_bytes, console_bytes (the largest)
DISPLAY = "display.changed"  # owner (an instance, None: nobody), tiles, streams that it has to show
INSTALLED = "app.installed"  # instance, bytes, duration_s, ports (of the appliance, if any)
INSTALL_FAILED = "app.install-failed"  # instance, reason
DAMAGED = "app.damaged"  # instance, assets (those whose hash does not match any more)
REMOVED = "app.removed"  # instance
LOG_LINE = "log.line"  # stream, line: the documented lines of the appliance's logs; a camera
# node's (source `app/<instance>`) with camera, instance too, whenever it says something new

PORT_OPENED = "port.opened"  # instance, node, address (of the appliance), port, container_port
DISPLAY_SNAPSHOT = "display.snapshot"  # instance, file (in the run's `display/`), why
DISPLAY_PAGE = "display.page"  # url: where the screens can be watched while it runs (`scenario`)

# The application and the cameras (source `app/<instance>` and `camera/<name>`)
APP_FIRST_FRAME = "app.first-frame"  # camera, duration_s since node start
APP_EPOCH = "app.epoch"  # instance, number (1, 2, ...), frames, duration_s, and of its frames:
# inference_mean_ms, inference_max_ms, frame_mean_ms, frame_max_ms (host and inference together)
APP_PACE = "app.pace"  # instance, models (node -> ms a call takes on the appliance now), first_ms
# (what the first call takes more), origin: work | prediction | profile, beyond (in words, what of
# a prediction lies outside the measurements). Only with `timing: jetson` on the process rung
APP_ERROR = "app.error"  # line (last line of the traceback), code
CAMERA_CONNECTED = "camera.connected"  # camera, instance, transport: tcp | udp
CAMERA_LOST = "camera.lost"  # camera, instance, line (what the camera node logs)
CAMERA_TROUBLE = "camera.trouble"  # camera, instance, trouble (see trouble.py), count so far
CAMERA_CLEAR = "camera.clear"  # camera, instance, trouble, count, lasted_s: it is over
FRAMES = "frames.window"  # see below
# frames.window, one a second per (camera, reader), source `app/<instance>`:
#   camera, instance, from_s, to_s,
#   delivered (frames handed to the application), lost (that never came whole, as far as the
#   reader can tell), troubles (names of those that there were, see trouble.py),
#   detected (tp), missed (fn), false (fp), sight (the same by label and confidence, and of objects
#   in two frames in a row, see `harness.judge.sight`),
#   latency_ms  histogram (capture to detection), inference_ms histogram (per call)
#   both as `Histogram.to_json()`; with `timing: jetson` also
#   paced (calls) and host_bound (those of them for which this machine was slower than asked)
FRAME_ACCOUNT = "frames.account"
# frames.account, once per (camera, instance) when the run ends (and at node end):
#   camera, instance, sent, delivered, lost_network, dropped_decoder, skipped_application, in_flight

# Faults (source `nemesis`)
FAULT_INJECTED = "fault.injected"  # fault (id), fault_kind, target, label, parameters
FAULT_OBSERVED = "fault.observed"  # fault, by (the kind of event that shows it), after_s
FAULT_HEALED = "fault.healed"  # fault
FAULT_RECOVERED = "fault.recovered"  # fault, by, after_s (since heal)

# The control plane (source `cloud`)
CLOUD_DEVICE = "cloud.device"  # device (name), status: DeviceAggregatedStatus
CLOUD_INSTANCE = "cloud.instance"  # instance, name, status: ApplicationInstanceStatus, description
CLOUD_HEALTH = "cloud.health"  # instance, status: how one that is deployed is said to fare now
CLOUD_LOG_SKEWED = "cloud.log-skewed"  # device (name), stream, ahead_s: lines of the future, or
# of before the device was there (then behind_s)
CLOUD_JOB = "cloud.job"  # job, device, status: UpdateProgress
