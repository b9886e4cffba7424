"""Reports of runs and of maps: what the page shows is gathered here."""

from geoseg.reporting.gather import gather, write_report_page
from geoseg.reporting.material import Material, page_title

__all__ = ["Material", "gather", "page_title", "write_report_page"]
