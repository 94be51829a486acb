"""Whole regions of inputs: properties, sampling, bounds and proofs."""
