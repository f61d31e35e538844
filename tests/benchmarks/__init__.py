"""Speed and memory beside other libraries. `make bench` runs it; no test depends on what it finds."""
