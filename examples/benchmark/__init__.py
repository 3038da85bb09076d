"""Benchmarks: the cost of the environment as ratios to baselines measured in the same run."""
