"""Equal-budget comparisons: how well an arm did, and how sure that is."""
