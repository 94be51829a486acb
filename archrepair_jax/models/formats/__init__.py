"""Files of weights and of whole networks."""
