"""Running application code: packages, the application SDK, cameras, models, the process."""
