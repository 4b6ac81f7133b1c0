"""What monitoring is told of the whole installation; of the receiver alone, it tells itself."""
