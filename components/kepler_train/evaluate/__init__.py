"""Candidate against champion, on the same held-out rows, in the same run."""
