"""Policies: they answer a transcript, either by a fixed rule or by asking a model behind an endpoint."""
