"""What the environment costs, as ratios against plain ways measured in the same run; `python -m examples.benchmark`."""
