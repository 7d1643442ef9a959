"""The sections of a page that show a report."""

from __future__ import annotations

import html

from sensorium_jax.pages import figures, page
from sensorium_jax.scores.report import Report


def report_page(report: Report) -> str:
    """A self-contained HTML page with the tables and figures of a report.

    Examples:
        >>> "Nothing was scored." in report_page(Report(()))
        True
    """
    return page.render("Scores", "<h1>Scores</h1>", *report_sections(report))


def report_sections(report: Report) -> list[str]:
    """HTML fragments: scores with intervals, scores by mouse, distributions over neurons."""
    if not report.scores:
        return [f"<p>Nothing was scored. {html.escape(report.caption())}</p>"]
    return [
        "<h2>Scores</h2>",
        page.figure(figures.scores(report), figures.scores_caption(report)),
        *(r.tier_table()._repr_html_() for r in report.unit_views),
        "<h2>By mouse</h2>",
        *(f"<h3>{r.units} units</h3>{r.mouse_table()._repr_html_()}" for r in report.unit_views),
        "<h2>Neurons</h2>",
        page.figure(figures.histograms(report), "Single-trial correlation of every neuron."),
    ]
