"""Who does the work: threads, processes, Dask workers; locks and watchdogs. Knows no slides."""
