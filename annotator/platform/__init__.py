"""The only code that knows Cytomine: connection, images, terms, annotations, models, files."""
