"""Style: what it is in numbers, which styles a collection has, and photographs restyled to learn from."""
