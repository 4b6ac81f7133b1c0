"""The boards of `boards/`: their SQL on a loaded database, and in the tools that they are for."""
