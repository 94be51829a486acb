from tiny_networks import compile_quickly  # noqa: F401
