"""Musical instruments as data (MIMO thesaurus, Hornbostel-Sachs), and how names of terms are matched to them."""

from annotator.vocabulary.instruments import Instrument, by_mimo_id, imagenet_instruments
from annotator.vocabulary.matching import Match, match_terms, matching

__all__ = ["Instrument", "Match", "by_mimo_id", "imagenet_instruments", "match_terms", "matching"]
