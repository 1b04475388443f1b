"""Reservations per second through sockets: one worker, level fsync, none sold twice."""

from __future__ import annotations

from collections.abc import Iterable

from bench.child import Answer
from bench.report import Bar, Reading
from bench.stage import Bench, Stage, Window


__all__ = ["run"]

BAR = Bar(">= 10,000/s, aim 20,000/s; oversell 0", 10_000, 20_000, at_least=True)
_BUYERS, _DEPTH = 400, 8
_BATCH = 128
_ENDLESS = 10_000_000


def run(bench: Bench) -> Iterable[Reading]:
    """Measure with stock for everyone, check with stock for few, then without sockets."""
    with bench.stage("decisions", durability="fsync", messages_per_s=1e6, bytes_per_s=1e9,
                     max_per_user=0) as stage:  # fmt: skip
        stage.open("bench")
        plenty, seen = _sell(stage, "plenty", _ENDLESS, _ENDLESS, bench.pick(5.0, 1.0))
        stock = bench.pick(5000, 1000)
        short, _ = _sell(stage, "short", 4 * stock, stock, 10.0)
        audits = [stage.worker.ask("op", room="bench", name="bench.audit", body={"sku": sku})
                  for sku in ("plenty", "short")]  # fmt: skip
        bare = stage.worker.ask("script", room="bench", batch=_BATCH, seconds=bench.pick(2, 0.5))
        level = stage.worker.hello["level"]
    wrong = _oversold(stock, plenty, short, audits)
    rate, cost = plenty["accepted"] / plenty["seconds"], seen.cpu / plenty["accepted"] * 1e6
    yield Reading(
        what=f"reservations/s through sockets, {_BUYERS} buyers with {_DEPTH} on their way each,"
        f" level {level}",
        bar=BAR.text,
        measured=f"{rate:,.0f}/s; {wrong or 'oversell 0'}",
        reached="no" if wrong else BAR.verdict(rate),
        beside=f"the script alone, batches of {_BATCH}, same worker: {bare['per_s']:,.0f}/s",
        values={"per_s": rate, "worker_us": cost, "script_per_s": bare["per_s"]},
        notes=[
            (
                f"{plenty['accepted']:,} reserved in {plenty['seconds']:.1f} s; worker"
                f" {seen.busy:.0%} = {cost:.0f} us each; {seen.load_text}"
            ),
            (
                f"stock {stock:,} for {short['sent']:,} attempts: {short['accepted']:,} reserved,"
                f" {short['refused']:,} refused in {short['seconds']:.1f} s"
            ),
        ],
    )


def _sell(
    stage: Stage, sku: str, attempts: int, stock: int, seconds: float
) -> tuple[Answer, Window]:
    body = {"sku": sku, "n": stock}
    stage.worker.ask("op", room="bench", name="bench.stock", body=body)
    spec = {"buyers": _BUYERS, "depth": _DEPTH, "attempts": attempts, "sku": sku}
    return stage.watch("buy", 40, port=stage.port, room="bench", seconds=seconds, **spec)


def _oversold(stock: int, plenty: Answer, short: Answer, audits: list[Answer]) -> str:
    """Return what does not add up; "" if everything does."""
    if plenty["accepted"] != plenty["sent"]:
        return f"{plenty['sent']} sent, but {plenty['accepted']} reserved and stock for all"
    if short["accepted"] + short["refused"] != short["sent"]:
        return f"{short['sent']} sent, {short['accepted'] + short['refused']} answered"
    if short["accepted"] != stock or audits[1]["left"] != 0:
        return f"stock {stock}, but {short['accepted']} reserved and {audits[1]['left']} left"
    held = audits[0]["held"]  # of both articles
    if plenty["accepted"] + short["accepted"] != held:
        return f"answered {plenty['accepted'] + short['accepted']}, but held {held}"
    return ""
