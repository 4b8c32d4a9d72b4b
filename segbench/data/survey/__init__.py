"""``segbench data check``: look at every file, say all that is wrong or odd."""
