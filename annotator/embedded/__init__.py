"""A small Cytomine-compatible server (OFF32 dialect) and the demo gallery."""
