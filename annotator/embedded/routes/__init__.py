"""The paths of the embedded server, one module for each kind of thing."""
