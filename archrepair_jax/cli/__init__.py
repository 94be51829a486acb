"""The command line: flags, interruption, and which task a config names."""
