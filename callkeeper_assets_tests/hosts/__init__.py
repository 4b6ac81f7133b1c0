"""Our sources in projects of others: three of them, whole, and what they are given."""
