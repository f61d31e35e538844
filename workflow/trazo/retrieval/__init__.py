"""Distances, ranking, metrics and statistics of retrieval; reads and writes no files."""
