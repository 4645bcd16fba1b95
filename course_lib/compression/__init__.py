"""Compression: fewer weights, fewer bits, smaller networks."""
