"""A small Cytomine-compatible server (the official core 3.1 and 3.2) and the demo gallery."""
