"""Adapters of the environment to training libraries; each module needs the extra of its name."""
