"""Loaders that somebody would write without the product: what the benchmark compares it with.

Each is a program of its own, run by the benchmark's environment (`requirements-bench.txt`), and as
good as its author could make it. Nothing here imports the product.
"""
