"""From an RGB array to detections: pyramid, dense scoring, windows, suppression. Pure arrays in, `Detections` out."""
