"""Staged training: objectives, and the loop that trains one stage and can be interrupted."""
