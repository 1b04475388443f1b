"""Several workers' metrics as one text in the Prometheus exposition format (layer 0).

A family's samples must stand together under one HELP and TYPE; every sample gets a label that
tells whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping


__all__ = ["merge"]

_HEADER = re.compile(r"# (?:HELP|TYPE) (\S+)")


def merge(texts: Mapping[str, str], label: str) -> str:
    """Return the texts as one.

    Args:
        texts: the text of each source, by the value of its label.
        label: the label's name; no sample may have it already.
    """
    families: dict[str, tuple[list[str], list[str]]] = {}
    for value, text in texts.items():
        for family, line in _lines(text):
            headers, samples = families.setdefault(family, ([], []))
            if not line.startswith("#"):
                samples.append(_labelled(line, f'{label}="{value}"'))
            elif line not in headers and len(headers) < 2:
                headers.append(line)
    lines = (line for both in families.values() for part in both for line in part)
    return "".join(f"{line}\n" for line in lines)


def _lines(text: str) -> Iterable[tuple[str, str]]:
    """Yield (family, line) of every line that says something."""
    family = ""
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            family = header[1]
        if line and (header or not line.startswith("#")):
            yield family, line


def _labelled(sample: str, pair: str) -> str:
    """Add a label to a sample: the first brace, if any comes before a blank, opens its labels."""
    name, brace, rest = sample.partition("{")
    if brace and " " not in name:
        return f"{name}{{{pair}}}{rest[1:]}" if rest[0] == "}" else f"{name}{{{pair},{rest}"
    name, _, value = sample.partition(" ")
    return f"{name}{{{pair}}} {value}"
