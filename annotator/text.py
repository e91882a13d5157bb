"""Text that others wrote, made fit to stand in a line of ours."""


def printable(text: str) -> str:
    """The text with a question mark for each control character, line break, change of direction and half character."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
