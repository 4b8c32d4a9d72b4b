"""Files that are whole or not there."""

from pathlib import Path

import pytest

from segbench.files import replacing


def test_what_failed_is_told_even_where_the_part_is_gone(tmp_path: Path):
    def fail() -> None:
        with replacing(tmp_path / "file") as part:
            part.unlink()
            raise ValueError("the cause")

    with pytest.raises(ValueError, match="the cause"):
        fail()
    assert list(tmp_path.iterdir()) == []
