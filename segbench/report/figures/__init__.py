"""Figures, made from what analysis found: on the page, and as files for a paper."""
