"""Reservations per second through sockets: one worker, level fsync, none sold twice."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

from bench.child import Answer
from bench.report import Bar, Reading
from bench.stage import Bench, Stage, Window


__all__ = ["run"]

BAR = Bar(">= 10,000/s, aim 20,000/s; oversell 0", 10_000, 20_000, at_least=True)
_BUYERS, _DEPTH = 1000, 3
_BATCH = 100
_PER_USER = 100  # the most that a sale allows
_PLENTY = 1_000_000


def run(bench: Bench) -> Iterable[Reading]:
    """Measure with stock for everyone, check with stock for few, then without sockets."""
    with bench.stage("decisions", durability="fsync", messages_per_s=1e6, bytes_per_s=1e9,
                     max_per_user=0) as stage:  # fmt: skip
        stage.open("bench")
        plenty, seen = _sell(stage, "plenty", _PLENTY, _PLENTY, bench.pick(5.0, 1.0))
        stock = bench.pick(5000, 1000)
        short, _ = _sell(stage, "short", 4 * stock, stock, 10.0)
        stocks = {
            sku: stage.worker.ask("stock", room="bench", sku=sku) for sku in ("plenty", "short")
        }
        stage.worker.ask("sell", room="bench", sku="bare", total=_PLENTY, per_user=1)
        bare = stage.worker.ask(
            "script", room="bench", sku="bare", batch=_BATCH, seconds=bench.pick(2, 0.5)
        )
        server = _redis_benchmark(stage, bench.pick(2000, 400))
        level = stage.worker.hello["level"]
    wrong = _oversold(stock, plenty, short, stocks)
    rate, cost = plenty["accepted"] / plenty["seconds"], seen.cpu / plenty["accepted"] * 1e6
    yield Reading(
        what=f"flash.reserve/s through sockets, {_BUYERS} buyers with {_DEPTH} on their way each,"
        f" level {level}",
        bar=BAR.text,
        measured=f"{rate:,.0f}/s, p50 {plenty['latency']['p50'] * 1e3:.0f} ms,"
        f" p99 {plenty['latency']['p99'] * 1e3:.0f} ms; {wrong or 'oversell 0'}",
        reached="no" if wrong else BAR.verdict(rate),
        beside=f"the script alone, batches of {_BATCH}: {bare['per_s']:,.0f}/s from the worker,"
        f" {server}",
        values={"per_s": rate, "worker_us": cost, "script_per_s": bare["per_s"],
                "p99_s": plenty["latency"]["p99"]},
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
    )  # fmt: skip


def _sell(
    stage: Stage, sku: str, attempts: int, stock: int, seconds: float
) -> tuple[Answer, Window]:
    stage.worker.ask("sell", room="bench", sku=sku, total=stock, per_user=_PER_USER)
    attempts = min(attempts, _BUYERS * (_PER_USER - _DEPTH))
    spec = {"buyers": _BUYERS, "depth": _DEPTH, "attempts": attempts, "sku": sku}
    return stage.watch("buy", 40, port=stage.port, room="bench", seconds=seconds, **spec)


def _redis_benchmark(stage: Stage, calls: int) -> str:
    """Return what redis-benchmark gets out of the same script on the same server."""
    tool = shutil.which("redis-benchmark")
    if tool is None:
        return "redis-benchmark is not installed"
    stage.worker.ask("sell", room="bench", sku="server", total=_PLENTY, per_user=1)
    asked = stage.worker.ask("request", room="bench", sku="server", batch=_BATCH)
    socket = stage.store.url.removeprefix("unix://").partition("?")[0]
    command = [tool, "-s", socket, "-n", str(calls), "-c", "2", "-r", "1000000000", "EVALSHA",
               asked["sha"], "1", asked["key"], asked["request"], "", ""]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return _read_benchmark(done.stdout)


def _read_benchmark(text: str) -> str:
    rate = re.search(r"([\d.]+) requests per second", text)
    table = re.search(r"p50\s+p95\s+p99\s+max\s*\n\s*([\d.\s]+)", text)
    if rate is None or table is None:
        return "redis-benchmark: no figure"
    p99 = table[1].split()[4]
    return f"{float(rate[1]) * _BATCH:,.0f}/s by redis-benchmark (p99 {p99} ms a batch)"


def _oversold(stock: int, plenty: Answer, short: Answer, stocks: dict[str, Any]) -> str:
    """Return what does not add up; "" if everything does."""
    if broken := stocks["short"]["broken"]:
        return f"broken: {broken}"
    if plenty["accepted"] != plenty["sent"]:
        return f"{plenty['sent']} sent, but {plenty['accepted']} reserved and stock for all"
    if short["accepted"] + short["refused"] != short["sent"]:
        return f"{short['sent']} sent, {short['accepted'] + short['refused']} answered"
    if short["accepted"] != stock or stocks["short"]["available"] != 0:
        return f"stock {stock}, but {short['accepted']} reserved, {stocks['short']}"
    if plenty["accepted"] != stocks["plenty"]["reserved"]:
        return f"answered {plenty['accepted']}, but held {stocks['plenty']['reserved']}"
    return ""
