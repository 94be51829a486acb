"""The architectures that we have ourselves."""
