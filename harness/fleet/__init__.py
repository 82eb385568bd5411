"""Many appliances at once: load on a served control plane, in the shapes a fleet makes."""
