"""Exports: finished episodes as rows that train, patches as predictions, tasks as other frameworks' tasks."""
