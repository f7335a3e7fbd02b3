"""What the whole workflow costs, beside the same done with pandas from JSON, and how both time and memory grow.

`python -m benchmarks.workflow` simulates a cluster and loads it into a Prometheus, which the workflow and its peer both
read. Growth is measured on recordings, read directly, the longer window being the same hours four times, since neither
the simulator nor a server's loading of four million series says anything of the workflow. Seconds are of CPU, of all
processes, since machines are shared.

`own` and `peer` run in processes of their own; `processes` measures such a process and all that it starts.
"""
