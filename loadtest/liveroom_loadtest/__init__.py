"""Load-test harness for live rooms: many viewers, scenarios as data, an oracle inside each of them.

`scenario figures oracle digest seconds charts` are pure; `viewer crowd acts child` are one process
of viewers; `swarm processes desk engine` the process that leads them; `outcome page progress cli`
tell what came of it.
"""
