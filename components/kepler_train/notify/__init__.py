"""Telling people and machines how a run ended."""
