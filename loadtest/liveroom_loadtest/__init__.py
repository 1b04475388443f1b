"""Load-test harness for live rooms."""
