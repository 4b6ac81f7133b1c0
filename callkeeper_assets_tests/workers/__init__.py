"""Several machines: workers with homes of their own, a broker, an object store."""
