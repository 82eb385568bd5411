"""What runs in the process of the neighbouring services: moto is imported here alone."""
