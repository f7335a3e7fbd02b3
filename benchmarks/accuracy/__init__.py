"""How good the shipped pipelines are: sums against measured nodes, splits against known truth, time and memory.

Every figure is of rows that no model was trained on, and stands beside those of peers fitted in the same run.

- `rows`: node intervals in memory, with the truth where it is known
- `recordings`, `simulated`: where rows come from, and what is held out
- `peers`, `shipped`: what is fitted to them
- `metrics`, `figures`, `targets`: what is measured, and what is to be reached
- `sums`, `splits`, `timing`: the three parts of the benchmark
- `tables`: the figures as text and as JSON
"""
