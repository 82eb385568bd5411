"""What may be wrong with a camera's stream while it flows, by name: values of `camera.trouble`.

The camera node of the appliance notices them, without knowing of any fault.
"""

from __future__ import annotations

FRAMES_LOST = "frames-lost"  # sent by the camera, never here whole
FRAMES_DAMAGED = "frames-damaged"  # here, and not what was filmed: a part is missing or wrong
OUT_OF_ORDER = "out-of-order"  # packets that were overtaken by later ones
DUPLICATED = "duplicated"  # packets that came again
UNEVEN = "uneven"  # packets come early and late by turns
RESTARTED = "restarted"  # another source, or sequence numbers that begin anew
CLOCK_JUMPED = "clock-jumped"  # the time stamps, against the time that passed
CLOCK_DRIFTS = "clock-drifts"  # likewise, little by little
FROZEN = "frozen"  # frames come, and the picture stands still
DARK = "dark"  # frames come, and there is nothing to see
RESIZED = "resized"  # the picture has another size than when the camera was connected
KEYS_RARE = "keys-rare"  # key frames are further apart than they used to be
MISTAKEN = "mistaken"  # what a frame says beside its picture is not what the picture says

TROUBLES = (
    *(FRAMES_LOST, FRAMES_DAMAGED, OUT_OF_ORDER, DUPLICATED, UNEVEN, RESTARTED),
    *(CLOCK_JUMPED, CLOCK_DRIFTS, FROZEN, DARK, RESIZED, KEYS_RARE, MISTAKEN),
)
