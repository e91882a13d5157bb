"""What in a picture speaks for an instrument: VisualBackProp and its companion for one class."""
