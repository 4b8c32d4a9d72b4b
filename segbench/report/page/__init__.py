"""``segbench report``: one self-contained HTML page of one study or several."""
