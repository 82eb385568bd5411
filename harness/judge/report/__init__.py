"""Reports of a run, rendered from its run directory alone: HTML, Markdown, JUnit XML."""
