"""Networks: a file per family, each a chain of named stages; a factory by name; checkpoints."""
