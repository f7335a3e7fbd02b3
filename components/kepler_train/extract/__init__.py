"""From Prometheus or a recording to a window: each stored sample once, typed, in shards."""
