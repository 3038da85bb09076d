"""Exports: episodes as training rows, patches as predictions, tasks in the formats of other frameworks."""
