"""``report.html``: what became of a dataset, as one page that needs nothing but itself."""

from flare_fusion.report.page import report_html, write_report

__all__ = ["report_html", "write_report"]
