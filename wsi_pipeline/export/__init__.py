"""The result in other programs' formats."""

from wsi_pipeline.export.csv import write_csv
from wsi_pipeline.export.formats import FORMATS, ExportSource, export_to
from wsi_pipeline.export.geojson import write_geojson

__all__ = ["FORMATS", "ExportSource", "export_to", "write_csv", "write_geojson"]
