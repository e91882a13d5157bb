"""Backbones, their weights, and the model bundle."""

import keras

# What somebody set in ~/.keras/keras.json for other programs would change our networks, or keep them from being built.
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
