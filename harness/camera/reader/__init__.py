"""Reading cameras as strangers do: the probe, and a light reader of thousands of sessions."""
