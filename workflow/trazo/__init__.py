"""trazo: train retrieval networks in stages, reduce features, rank, report beside published values."""
