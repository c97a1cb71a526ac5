"""How fast the history and its statistics are at a million rows and more, on SQLite or PostgreSQL."""
