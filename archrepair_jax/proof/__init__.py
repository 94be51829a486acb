"""Sound bounds, the proof that a property holds, its certificate and an independent checker."""
