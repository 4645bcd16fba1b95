"""Training: the loop, and what the chapters add to it."""
