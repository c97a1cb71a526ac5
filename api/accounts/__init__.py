"""Users: who they are, their passwords and their tokens."""
