"""Find and label musical instruments in artworks, inside Cytomine.

Everything inside this package works in one frame: pixels of the full-resolution image, origin at the top-left, y down.
Only ``annotator.platform`` (and the embedded server, which plays the other side) knows Cytomine's bottom-left frame.
"""

import os

# Our products of matrices are many and small: threads that wait for each other take most of the time, and take it from
# the network. Read when numpy and scipy are loaded, so it stands here.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Whoever keeps another backend in ~/.keras/keras.json, which Singularity shows to the container, keeps it for other
# programs: the image has none but this. Read when keras is loaded.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
