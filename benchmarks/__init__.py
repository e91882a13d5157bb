"""Figures for the README and the CHANGELOG: ``python -m benchmarks`` runs them all.

Each figure is a ratio of two things measured in one run, or a score, so that it means the same on another machine.
"""
