"""What an output folder holds, apart from its run: read, drawn, summed up, exported."""
