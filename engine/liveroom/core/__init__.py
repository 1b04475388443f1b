"""Pure parts of the hub: lanes, fair shedding, beat policy, rate limits, clocks."""
