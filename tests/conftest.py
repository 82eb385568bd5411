"""What holds for every test."""

from hypothesis import settings

# How long an example takes is the machine's affair: time decides no test here.
settings.register_profile("harness", deadline=None)
settings.load_profile("harness")
