"""Reducers: what makes features shorter, fitted on the features of a gallery."""
