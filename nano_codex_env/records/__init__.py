"""Logs of episodes and results of runs: the format, the writer, the reader."""
