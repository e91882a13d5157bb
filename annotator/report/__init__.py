"""The page a person looks at, and the COCO file a program reads."""
