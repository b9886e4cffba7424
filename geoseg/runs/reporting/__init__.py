"""Gather the contents of the pages about runs and maps."""
