"""trazo: train retrieval networks in stages, reduce their features, rank, and report beside published values."""
