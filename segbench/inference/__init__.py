"""What needs a network and a run folder at once: its cost, its export, its predictions."""
