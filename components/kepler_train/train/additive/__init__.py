"""Fitting a non-negative function of a pod's features whose sum over pods, plus idle, is what the node measured."""
