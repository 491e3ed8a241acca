"""What is to be done: the slides among files, folders and lists, each under an id of its own."""

from wsi_pipeline.inputs.discovery import Inventory
from wsi_pipeline.inputs.search import FoundSlides, find_slides, search_inputs
from wsi_pipeline.inputs.slide_list import SlideEntry

__all__ = ["FoundSlides", "Inventory", "SlideEntry", "find_slides", "search_inputs"]
