"""When two runs are the same."""

import torch

from segbench.runs import RunFolder


def assert_same(one: RunFolder, other: RunFolder) -> None:
    """Curves, times aside, counts, predictions and weights, to the last bit."""
    rows, others = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in run.read_metrics()]
        for run in (one, other)
    )
    assert rows == others
    assert (one.read_counts().counts == other.read_counts().counts).all()
    assert one.read_counts().images == other.read_counts().images
    for prediction in (one.test / "predictions").iterdir():
        assert (
            prediction.read_bytes() == (other.test / "predictions" / prediction.name).read_bytes()
        )
    for name in ("best", "last"):
        a, b = (torch.load(getattr(run, name), weights_only=True) for run in (one, other))
        assert a["epoch"] == b["epoch"]
        assert all(torch.equal(a["state_dict"][k], b["state_dict"][k]) for k in a["state_dict"])
    records = [run.read_record() for run in (one, other)]
    for key in ("status", "arm", "seed", "epochs", "steps", "best_epoch", "scores", "fingerprints"):
        assert records[0][key] == records[1][key]
