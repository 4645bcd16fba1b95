"""Analyses of networks: what they cost, and later what they see."""
