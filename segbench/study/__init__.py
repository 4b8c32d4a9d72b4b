"""Studies: many runs of one question, planned before the first and run by one of three engines."""
