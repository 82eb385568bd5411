"""What both ends of the connection to the neighbours' process agree on."""

from __future__ import annotations

PATH = "/.harness/"  # questions of the parent; what is below it is the question's name
WORD_HEADER = "X-Harness-Word"
TIME_HEADER = "X-Harness-Time"  # the service's clock, seconds since the epoch
ACCOUNT_HEADER = "X-Moto-Account-Id"
