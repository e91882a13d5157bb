"""Backbones, their weights, and the model bundle."""
