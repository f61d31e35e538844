"""The kinds of figures, a file per family; each registers itself with `trazo.report.drawing`."""
