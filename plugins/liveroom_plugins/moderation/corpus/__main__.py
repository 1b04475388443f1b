"""Print the corpus table: recall by transform, false positives, time per message."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from statistics import mean, quantiles

import click
import structlog

from .measure import Report, measure
from .pipeline import Costs, measure_pipeline


@click.command()
@click.option("--seed", default=1, show_default=True, help="Of the evasive half.")
@click.option("--misses", is_flag=True, help="List what was missed and what was wrongly found.")
def main(seed: int, misses: bool) -> None:
    """Measure the shipped packs against the corpus."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    report = measure(seed)
    click.echo("\n".join([*table(report), "", *costs(measure_pipeline())]))
    if misses:
        click.echo("\n".join(faults(report)))


def table(report: Report) -> Iterator[str]:
    """Yield the lines of the table, in Markdown."""
    yield "| transform | cases | caught | recall |"
    yield "|---|---:|---:|---:|"
    for number, row in enumerate(report.rows):
        yield f"| {number}. {row.name} | {row.cases:,} | {row.caught:,} | {row.recall:.1%} |"
    yield ""
    share = f"{len(report.wrong)} of {report.benign:,} = {report.false_positives:.2%}"
    yield f"False positives: {share} of the benign lines."
    yield f"Traps, made to hold a word by accident: {len(report.sprung)} of {report.traps} sprung."
    yield ""
    yield "| microseconds a message | mean | p50 | p99 |"
    yield "|---|---:|---:|---:|"
    for name, times in (("benign", report.benign_us), ("evasive", report.evasive_us)):
        cuts = quantiles(times, n=100)
        yield f"| {name} | {mean(times):.1f} | {cuts[49]:.1f} | {cuts[98]:.1f} |"


def costs(measured: Costs) -> Iterator[str]:
    """Yield what moderation costs in a worker."""
    yield "| in a worker | mean | p50 | p99 |"
    yield "|---|---:|---:|---:|"
    cuts, average = quantiles(measured.inspect_us, n=100), mean(measured.inspect_us)
    yield f"| `inspect` of a message, µs | {average:.1f} | {cuts[49]:.1f} | {cuts[98]:.1f} |"
    yield f"| `inspect` of a like, µs | {measured.other_us:.2f} | | |"
    yield ""
    yield f"A changed pack is in force {max(measured.reload_s) * 1000:.0f} ms after it was noticed."


def faults(report: Report) -> Iterator[str]:
    """Yield what was missed and what was wrongly found."""
    for row in report.rows:
        for case in row.missed:
            yield f"missed  {row.name.partition(':')[0]}: {case.text!r} for {case.word!r}"
    for line, rules in [*report.wrong, *report.sprung]:
        yield f"wrongly {line!r}: {rules}"


if __name__ == "__main__":
    main()
