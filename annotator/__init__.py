"""Find and label musical instruments in artworks, inside Cytomine.

Everything inside this package works in one frame: pixels of the full-resolution image, origin at the top-left, y down.
Only ``annotator.platform`` (and the embedded server, which plays the other side) knows Cytomine's bottom-left frame.
"""

__version__ = "0.1.0"
