"""Episodes played by a policy: one (`rollout`) or many at once (`rollouts`); replays, new scores, vectors."""
