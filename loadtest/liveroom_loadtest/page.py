"""The report as one HTML file that loads nothing (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from liveroom_loadtest.charts import Chart, to_svg
from liveroom_loadtest.figures import FIGURES, shown
from liveroom_loadtest.outcome import Outcome


__all__ = ["to_html"]

_CHARTS = (
    ("Age of a message, ms", ("age_p50_ms", "age_p99_ms", "age_max_ms")),
    ("From command to reply, ms", ("reply_p50_ms", "reply_p99_ms")),
    ("Viewers", ("viewers",)),
    ("Joins a second", ("joined",)),
    ("From first try to greeting, p99, ms", ("join_p99_ms",)),
    ("Events shown a second", ("deliveries",)),
    ("Processor time for each event shown, µs", ("cpu_us_per_delivery",)),
    ("Bytes for each event shown", ("bytes_per_delivery",)),
    ("Megabytes a second", ("megabytes",)),
    ("Frames a second", ("frames",)),
    ("Processor, cores", ("engine_cores", "store_cores", "load_cores")),
    ("Memory of the workers, MiB", ("engine_mib",)),
    ("Messages sent and refused a second", ("sent", "refused")),
    ("Messages not shown (shed) a second", ("shed",)),
    ("Errors a second", ("errors",)),
    ("Beat, and delay of the engine's loop, ms", ("beat_ms", "loop_lag_ms")),
    ("Unsent in the engine, KiB", ("queue_kib",)),
    ("How late the load was, p99, ms", ("lag_p99_ms",)),
)
_LOAD_LATE_MS = 50.0
_OTHERS_CORES = 0.15

_STYLE = """
:root{color-scheme:light dark;--fg:#1b1f24;--bg:#fff;--soft:#667;--line:#d8dce2;--good:#1a7f37;--bad:#cf222e;
--c0:#0969da;--c1:#cf222e;--c2:#8250df;--c3:#1a7f37;--c4:#9a6700}
@media (prefers-color-scheme:dark){:root{--fg:#e6e8eb;--bg:#14171b;--soft:#98a0ab;--line:#343a42;--good:#3fb950;
--bad:#f85149;--c0:#58a6ff;--c1:#ff7b72;--c2:#bc8cff;--c3:#3fb950;--c4:#d29922}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{margin:0}h2{margin:2rem 0 .5rem;font-size:1.15rem}p{color:var(--soft);margin:.3rem 0}
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:left}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.soft{color:var(--soft)}
.pass{color:var(--good);font-weight:600}.fail{color:var(--bad);font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(420px,100%),1fr));gap:1.2rem}
figure{margin:0}figcaption{font-size:.9rem}svg{width:100%;height:auto}svg text{font-size:10px;fill:var(--soft)}
svg .grid{stroke:var(--line);stroke-width:.6}svg .mark{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3}
svg .limit{stroke:var(--bad);stroke-width:1.2;stroke-dasharray:7 4}
svg polyline{fill:none;stroke-width:1.6}.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}
.c3{stroke:var(--c3)}.c4{stroke:var(--c4)}circle{fill:none;stroke-width:2}
.key b{font-weight:400;white-space:nowrap}.key i{display:inline-block;width:1.1em;border-top:3px solid;vertical-align:middle;margin:0 .3em 0 .8em;font-style:normal}
i.c0{border-color:var(--c0)}i.c1{border-color:var(--c1)}i.c2{border-color:var(--c2)}
@media (max-width:640px){tr{display:flex;flex-wrap:wrap;border-bottom:1px solid var(--line)}
td,th{border:0}th{display:none}td.n{margin-left:auto}td.soft{flex-basis:100%;padding-top:0}}
"""


def to_html(outcome: Outcome) -> str:
    """Return the report."""
    scenario = outcome.scenario
    word = '<span class="pass">PASS</span>' if outcome.reached else '<span class="fail">FAIL</span>'
    parts = [
        f"<h1>{escape(scenario.title)} {word}</h1>",
        f"<p>{escape(_sentence(scenario.about))}</p><p>{escape(_setting(outcome))}</p>",
        *(f'<p class="fail">{escape(text)}</p>' for text in _warnings(outcome)),
        "<h2>Objectives</h2>", _objectives(outcome),
        *_list("What must not be", outcome.faults),
        *_list("Errors", _counted(outcome.problems)),
        *_list("Why viewers tried again to come in or back", _counted(outcome.retried)),
        "<h2>In the course of time</h2>", _charts(outcome),
        "<h2>Figures</h2>", _figures(outcome),
        "<h2>Machine</h2>", _machine(outcome),
    ]  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(scenario.title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _setting(outcome: Outcome) -> str:
    crowd = outcome.scenario.crowd
    return (
        f"{crowd.viewers:,} viewers in {crowd.rooms:,} {'room' if crowd.rooms == 1 else 'rooms'}, "
        f"{crowd.processes} processes of load, {outcome.scenario.seconds:g} s, {crowd.codec}"
        f"{', deflated' if crowd.deflate else ''}; {outcome.machine.get('at', '')}"
    )


def _warnings(outcome: Outcome) -> list[str]:
    """Return what makes the figures rough."""
    texts = []
    late, others = outcome.figures["load_lag_p99_ms"], outcome.figures["others_cores"]
    if late is not None and late > _LOAD_LATE_MS:
        texts.append(f"The load itself was late by {late:.0f} ms (p99): ages hold that too.")
    if others is not None and others > _OTHERS_CORES:
        texts.append(f"Other programs used {others:.2f} cores meanwhile: the figures are rough.")
    return texts


def _objectives(outcome: Outcome) -> str:
    rows = "".join(
        f"<tr><td class={'pass' if v.reached else 'fail'}>{'PASS' if v.reached else 'FAIL'}</td>"
        f"<td>{v.objective.figure}</td><td class=n>{escape(v.wanted)}</td>"
        f"<td class=n>{escape(shown(v.objective.figure, v.value))}</td>"
        f"<td class=soft>{escape(FIGURES[v.objective.figure].meaning)}</td></tr>"
        for v in outcome.verdicts
    )
    return f"<table><tr><th></th><th>figure</th><th class=n>wanted</th><th class=n>came</th><th></th></tr>{rows}</table>"


def _list(title: str, texts: Iterable[str]) -> list[str]:
    rows = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return [f"<h2>{title}</h2><ul>{rows}</ul>"] if rows else []


def _counted(texts: dict[str, int]) -> list[str]:
    return [f"{count:,} x {text}" for text, count in texts.items()]


def _charts(outcome: Outcome) -> str:
    parts, flat = [], []
    last = max((at for points in outcome.series.values() for at, _ in points), default=0)
    for title, names in _CHARTS:
        lines = {name: outcome.series[name] for name in names if name in outcome.series}
        if not any(value for points in lines.values() for _, value in points):
            flat += [title] if lines else []
            continue
        svg = to_svg(Chart(title, lines, _marks(outcome), last, _limits(outcome)))
        key = "".join(f"<b><i class=c{n}></i>{name}</b>" for n, name in enumerate(lines))
        parts.append(
            f"<figure><figcaption>{escape(title)} <span class='key soft'>{key}</span></figcaption>"
            f"{svg}</figure>"
        )
    note = (
        "<p>Broken lines: upright, the begin of the play, of the settling, the end; "
        "level, what an objective allows.</p>"
    )
    zero = f"<p>Zero all the time: {escape('; '.join(flat))}.</p>" if flat else ""
    return f'{note}<div class="charts">{"".join(parts)}</div>{zero}'


def _marks(outcome: Outcome) -> dict[str, float]:
    return {name: at for name, at in outcome.phases.items() if name != "join"}


def _limits(outcome: Outcome) -> dict[str, float]:
    objectives = [verdict.objective for verdict in outcome.verdicts]
    return {one.figure: one.at_most for one in objectives if one.at_most is not None}


def _figures(outcome: Outcome) -> str:
    rows = "".join(
        f"<tr><td>{name}</td><td class=n>{escape(shown(name, value))}</td>"
        f"<td class=soft>{escape(FIGURES[name].meaning)}</td></tr>"
        for name, value in outcome.figures.items()
        if value is not None
    )
    return f"<table>{rows}</table>"


def _machine(outcome: Outcome) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>"
        for name, value in outcome.machine.items()
    )
    return f"<table>{rows}</table>"
