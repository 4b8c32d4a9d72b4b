"""Words around numbers."""

import re

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""What moves a terminal's cursor or recolours it, and halves of characters; not tab and newline."""


def printable(text: str) -> str:
    """The text with escapes for what a terminal would obey instead of show."""
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "group"), counted(0, "seed"), counted(2, "class")
    ('1 group', '0 seeds', '2 classes')
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"
