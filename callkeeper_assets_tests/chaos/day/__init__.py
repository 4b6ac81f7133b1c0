"""A day of operation in minutes, with real parts that are killed, stalled and filled in turn."""
