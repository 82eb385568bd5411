"""What the hardware would do: device profiles and the performance model. Pure."""
