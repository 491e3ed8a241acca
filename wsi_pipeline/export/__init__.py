"""The result in other programs' formats."""
