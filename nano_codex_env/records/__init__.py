"""What an episode leaves on disk: its log, and a run's rows of results."""
