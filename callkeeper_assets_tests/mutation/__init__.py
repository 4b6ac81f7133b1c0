"""How many faults in the parts that must not be wrong the tests notice: mutation testing."""
