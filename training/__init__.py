"""How models come to be: `python -m training`."""
