"""Analyses of networks: what they cost, and what they see."""
