"""A cluster whose every pod's true power is known; speaks Prometheus' format.

No node measures what a single pod uses, so nothing recorded can say whether a model splits a node's energy rightly.
This room makes up a cluster of which all is known, from physics and for no model in particular, and shows of it only
what an exporter would show.

- `spec`: what to simulate, the seed included; a later span of the same cluster is the same cluster later
- `randomness`, `workloads`, `load`: which pods there are and what they want to run
- `physics`: what that makes of frequency, counters and energy
- `counters`, `cluster`: a stretch of a node's life as arrays, with the truth
- `tables`: the same as the Arrow tables of the contract
- `faults`, `series`: what its exporter shows of it, restarts and impossible values included
- `recording`, `exporter`: the same as files, or live for a Prometheus to scrape
- `step`: the workflow's step
"""
