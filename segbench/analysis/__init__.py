"""Run folders in, tables out. Never torch."""
