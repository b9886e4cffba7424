"""Reports of runs and of maps: what the page shows is gathered here."""
