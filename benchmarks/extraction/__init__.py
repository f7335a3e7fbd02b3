"""What extraction costs client and server, beside what users of the client library write, on the same server and data.

`python -m benchmarks.extraction` simulates a cluster, loads it into two Prometheus servers (as blocks, and as a live
server holds it, with staleness markers), and prints tables. Seconds are of CPU, since wall time is not stable. `ways`
runs in processes of its own: one for each measurement.
"""
