"""What an alert says, in a sentence; and what its action is told."""

from __future__ import annotations

from typing import Any, Final

from liveroom_plugins.alerts.judges import Verdict
from liveroom_plugins.alerts.rules import Rule


__all__ = ["action_body", "sentence"]

_DEFAULT: Final = {
    "threshold": "{series} is {value}, the limit is {base}",
    "change": "{series} is {value}, was {base}",
    "deviation": "{series} is {value}, usually {base}",
    "missing": "{series}: nothing for {value} s",
}
_LONGEST: Final = 500


def sentence(rule: Rule, room: str, key: str, verdict: Verdict) -> str:
    """Return the rule's text, or one for its kind, with the numbers filled in."""
    words = _words(rule, room, key, verdict)
    return _filled(rule.text or _DEFAULT[rule.kind], words)[:_LONGEST]


def action_body(rule: Rule, room: str, key: str, verdict: Verdict) -> dict[str, Any]:
    """Return the body of the action with the same filled in wherever it has text."""
    assert rule.action is not None, "asked of a rule with an action"
    body: dict[str, Any] = _deep(rule.action.d, _words(rule, room, key, verdict))
    return body


def _words(rule: Rule, room: str, key: str, verdict: Verdict) -> dict[str, str]:
    series = rule.series.replace(":*", f":{key}") if key else rule.series
    numbers = {"value": _shown(verdict.value), "base": _shown(verdict.base)}
    return {"room": room, "key": key, "series": series, **numbers}


def _filled(text: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        text = text.replace("{" + name + "}", word)
    return text


def _deep(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, str):
        return _filled(value, words)
    if isinstance(value, dict):
        return {name: _deep(inner, words) for name, inner in value.items()}
    return [_deep(inner, words) for inner in value] if isinstance(value, list) else value


def _shown(number: float | None) -> str:
    if number is None:
        return "?"
    return f"{number:.2f}".rstrip("0").rstrip(".")
