"""The product as its users have it: real commands, real processes."""
