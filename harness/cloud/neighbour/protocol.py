"""What both ends of the connection to the neighbours' process agree on."""

from __future__ import annotations

PATH = "/.harness/"  # questions of the parent; what is below it is the question's name
WORD_HEADER = "X-Harness-Word"
TIME_HEADER = "X-Harness-Time"  # the service's clock, seconds since the epoch
WALL_HEADER = "X-Harness-Wall"  # real time to answer by, seconds since the epoch
AGAIN_HEADER = "X-Harness-Again"  # on a request that was answered before
SEED_HEADER = "X-Harness-Seed"  # of all chance in answering a request that changes something
ACCOUNT_HEADER = "X-Moto-Account-Id"
