"""The command line, as processes that a user starts."""
