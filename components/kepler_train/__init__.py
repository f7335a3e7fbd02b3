"""Kepler power models whose per-pod outputs add up to what the node measured."""
