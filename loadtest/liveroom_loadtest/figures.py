"""The figures of a run: names, units and meanings in one place (pure)."""

from __future__ import annotations

from typing import NamedTuple


__all__ = ["FIGURES", "Figure", "shown"]


class Figure(NamedTuple):
    """One figure: its unit, how many decimals are shown, what it means."""

    unit: str
    decimals: int
    meaning: str


FIGURES = {
    "joined": Figure("", 0, "viewers that came in"),
    "join_failed": Figure("", 0, "viewers that could not come in, however often they tried"),
    "retries": Figure("", 0, "tries to come in or back that failed and were made again"),
    "joins_per_s": Figure("/s", 0, "joins a second, in the storm if there is one, else at the start"),
    "join_p99_ms": Figure("ms", 0, "from the first try to connect to the greeting, 99 of 100"),
    "age_p50_ms": Figure("ms", 0, "from sending a message to a viewer's having it, half of all"),
    "age_p99_ms": Figure("ms", 0, "from sending a message to a viewer's having it, 99 of 100"),
    "age_max_ms": Figure("ms", 0, "from sending a message to a viewer's having it, the longest"),
    "reply_p50_ms": Figure("ms", 0, "from a command to its reply, half of all"),
    "reply_p99_ms": Figure("ms", 0, "from a command to its reply, 99 of 100"),
    "deliveries_per_s": Figure("/s", 0, "events shown, to all viewers together"),
    "frames_per_s": Figure("/s", 0, "frames that viewers got"),
    "bytes_per_delivery": Figure("B", 1, "bytes that came, for each event shown"),
    "megabytes_per_s": Figure("MB/s", 2, "bytes that came"),
    "sent": Figure("", 0, "messages that viewers sent"),
    "refused": Figure("", 0, "messages that the engine refused"),
    "shed_share": Figure("%", 2, "messages that were accepted and not shown, and told so"),
    "errors": Figure("", 0, "lost connections, timeouts, refusals that no rule of a room explains"),
    "oracle_faults": Figure("", 0, "holes, doubles, unequal payloads, accounts that do not add up"),
    "accounts_judged": Figure("", 0, "viewers of whom accepted = delivered + shed was checked, and holds"),
    "invariants_broken": Figure("", 0, "what the engine's own audit found at the end"),
    "engine_cores": Figure("cores", 2, "processor time of the workers, a second"),
    "store_cores": Figure("cores", 2, "processor time of the store, a second"),
    "cpu_us_per_delivery": Figure("µs", 2, "processor time of the workers for each event shown"),
    "cpu_us_per_frame": Figure("µs", 2, "processor time of the workers for each frame"),
    "kib_per_viewer": Figure("KiB", 1, "memory that the workers took for each viewer at the start"),
    "gifts": Figure("", 0, "gifts that were acknowledged"),
    "gifts_lost": Figure("", 0, "acknowledged gifts without an event, or events without a gift"),
    "reserved": Figure("", 0, "units that were reserved"),
    "oversell": Figure("", 0, "units granted above what there was, or otherwise than the engine says"),
    "undersell": Figure("", 0, "units left though more buyers wanted them"),
    "decisions_per_s": Figure("/s", 0, "reservations decided a second, from the first to the last"),
    "entries": Figure("", 0, "viewers whose entry into the draw was accepted"),
    "draw_faults": Figure("", 0, "winners too few, double or not entered; proofs that do not hold"),
    "back": Figure("", 0, "viewers that lost the connection and came back"),
    "back_p99_ms": Figure("ms", 0, "from the loss to the greeting, 99 of 100"),
    "back_failed": Figure("", 0, "viewers that did not come back"),
    "not_resumed": Figure("", 0, "viewers that came back and were not resumed"),
    "load_lag_p99_ms": Figure("ms", 0, "how late the load itself was: ages hold at least as much"),
    "load_cores": Figure("cores", 2, "processor time of the load, a second"),
    "others_cores": Figure("cores", 2, "processor time of everything else on this machine, a second"),
}  # fmt: skip


def shown(name: str, value: float | None) -> str:
    """Return a figure as people read it."""
    figure = FIGURES[name]
    if value is None:
        return "not measured"
    return f"{value:,.{figure.decimals}f}{' ' if figure.unit[:1] not in '/%' else ''}{figure.unit}".rstrip()
