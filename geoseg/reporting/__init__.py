"""Reports of runs and of maps: what the page shows is gathered here."""

from geoseg.reporting.gather import gather, surveyor, write_report_page
from geoseg.reporting.material import Material, page_title
from geoseg.reporting.survey import surveys_of

__all__ = [
    "Material",
    "gather",
    "page_title",
    "surveyor",
    "surveys_of",
    "write_report_page",
]
