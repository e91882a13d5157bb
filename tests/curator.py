"""A curator played by a script: knows what is in each picture, looks through images and judges what a job found."""

SAME_PLACE, SAME_SHAPE = 0.3, 0.8  # intersection over union: of the same instrument; and well enough drawn
