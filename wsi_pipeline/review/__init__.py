"""Results taken elsewhere: exported, and compared with other runs and pathologists."""
