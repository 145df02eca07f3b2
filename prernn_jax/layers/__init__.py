"""The recurrent layers: cells, the scan over time, and the modules that hold weights."""
