"""Repair by behaviour imitation (BIRDNN, Liang et al. 2023)."""
