"""Networks by name, their first weights, and how they are packed for CPUs."""
