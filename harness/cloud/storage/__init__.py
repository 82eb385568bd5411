"""State on disk: one SQLite database, files of objects, and who writes them when."""
