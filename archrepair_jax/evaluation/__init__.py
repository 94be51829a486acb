"""How well a network does: rates with intervals, and surveys of whole regions."""
