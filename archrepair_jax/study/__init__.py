"""Many arms in one table: cells of settings, seeds and methods; a row exists, or it is computed."""
