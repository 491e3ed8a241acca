"""Pictures of a result (the home of matplotlib: each module is imported where it is needed)."""
