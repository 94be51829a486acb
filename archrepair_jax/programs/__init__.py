"""Faulty training programs and their remedies: every technique with the same budget, judged alike."""
