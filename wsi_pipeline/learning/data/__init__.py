"""Patches with labels: reading, splitting by patient, truth of whole slides."""
