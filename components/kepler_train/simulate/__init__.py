"""A cluster whose every pod's true power is known; speaks Prometheus' format."""
