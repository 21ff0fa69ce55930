"""The scores of a folder as one page: plots, pictures of the worst cases, every number."""

from flare_metrics.report.montage import render_disagreement
from flare_metrics.report.page import report_html, write_report

__all__ = ["render_disagreement", "report_html", "write_report"]
