"""Robustness: images made worse, images made to deceive, and whether a network goes by shape or by texture."""
