"""Whole input regions: properties, their files, and inputs drawn from them."""
