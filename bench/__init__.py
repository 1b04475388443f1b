"""Measures the engine against its budgets; for developers, not shipped (docs/benchmarks.md)."""
