"""Reports of runs and of maps: what the page shows is gathered here."""

from geoseg.reporting.gather import gather, write_report_page
from geoseg.reporting.material import Material

__all__ = ["Material", "gather", "write_report_page"]
