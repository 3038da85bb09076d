"""Policies: what answers a transcript; without a model, or a model behind an endpoint."""
