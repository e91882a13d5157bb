"""Match what people write ("Violins", "luth", "Violin (3573)", "organ, portative") to instruments."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from annotator.vocabulary.instruments import Instrument, ancestors, by_mimo_id, homonyms

MIMO_ID = re.compile(r"\((\d{4})\)\s*$")  # as the MINERVA project writes its terms: Violin (3573)
MIMO_IDS = range(2000, 10_000)
# As the Art & Architecture Thesaurus and OpenImages part homonyms: horns (aerophones), Organ (Musical Instrument).
QUALIFIED = re.compile(r"(.*)\(([^()]*)\)\s*", re.DOTALL)
KINDS = {
    *("instrument", "instruments", "musical instrument", "musical instruments", "instrument de musique"),
    *("musikinstrument", "muziekinstrument", "strumento musicale", "instrumento musical"),
    *("aerophones", "chordophones", "idiophones", "membranophones"),
}


def _key(name: str) -> str:
    """A name without case, accents and punctuation, its words parted by single spaces."""
    plain = unicodedata.normalize("NFKD", name.casefold().replace("ß", "ss"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(re.findall(r"[^\W_]+", plain.replace("'", "").replace("’", "")))


def _spellings(name: str) -> set[str]:
    """The keys under which a name is found: itself, words joined, and its plural."""
    keys = {_key(name), _key(name).replace(" ", "")}
    for key in list(keys):
        keys |= {key + "s", key + "es"}
        if key.endswith("y"):
            keys.add(key[:-1] + "ies")
    return keys - {"", "s", "es"}


def _other_plurals(language: str, name: str) -> set[str]:
    """The key of a plural without s, where a rule gives it for certain: Geigen, Orgeln, violini, arpe."""
    key = _key(name)
    if language == "de" and key.endswith(("e", "el")):
        return {key + "n"}
    if language == "it" and key[-1] in "oea" and " " not in key:
        return {key[:-1] + {"o": "i", "e": "i", "a": "e"}[key[-1]]}
    return set()


@cache
def _index() -> dict[str, Instrument]:
    """Instruments by spelling; what stays ambiguous is left out.

    Exact names of instruments that have aliases win over aliases, those over other exact names, and these over plurals.
    """
    instruments = list(by_mimo_id().values())
    leaves = [item for item in instruments if not item.is_heading]
    index: dict[str, Instrument] = {}
    rounds: list[Iterable[tuple[str, Instrument]]] = [
        ((_key(item.name), item) for item in instruments if item.aliases),
        # Before names that nobody thought of: a sackbut is a trombone, not the synthesizer of that name.
        ((_key(name), item) for item in instruments for _, name in item.aliases),
        ((_key(item.name), item) for item in leaves),
        ((key, item) for item in leaves if item.aliases for key in _spellings(item.name)),
        # Short names have no plural: shoes were several Sho, and Dutch kas, a cupboard, several Ka.
        ((key, item) for item in leaves if len(item.name) > 3 for key in _spellings(item.name)),
        ((key, item) for item in leaves for _, name in item.aliases for key in _spellings(name)),
        _headings_by_key().items(),
        ((key, item) for item in leaves for pair in item.aliases for key in _other_plurals(*pair)),
    ]
    for pairs in rounds:
        found: dict[str, set[Instrument]] = {}
        for key, item in pairs:
            found.setdefault(key, set()).add(item)
        index |= {key: items.pop() for key, items in found.items() if key not in index and len(items) == 1}
    return index


@cache
def _headings_by_key() -> dict[str, Instrument]:
    """Families and categories by key, but those of the same name in several categories."""
    instruments = by_mimo_id().values()
    found: dict[str, list[Instrument]] = {}
    for item in instruments:
        if item.is_heading:
            found.setdefault(_key(item.name), []).append(item)
    # "Others" heads a family in five categories, and in an ontology it is whatever is no instrument.
    return {key: items[0] for key, items in found.items() if len({item.category for item in items}) == 1}


@cache
def _homonym_keys() -> set[str]:
    return {key for name in homonyms() for key in _spellings(name)}


def matching(name: str) -> Instrument | None:
    """The instrument, family or category that a name means, or None where it means none for certain.

    A MIMO id in parentheses at the end decides alone. Else the whole name must be a name that we know, whatever its
    case, accents, hyphens or plural; parts of names never match (a harpist is no harp). What more likely means
    something else needs a MIMO id or a word for its kind: Wagon (3710), wagon (musical instrument).

    Example:
        >>> matching("Luths").name, matching("organ, portative").mimo_id, matching("Harpist")
        ('Lute', 2267, None)
    """
    code = MIMO_ID.search(name)
    if code and int(code[1]) in MIMO_IDS:
        return by_mimo_id().get(int(code[1]))
    qualified = QUALIFIED.fullmatch(name)
    if qualified and _key(qualified[2]) in KINDS:
        return _named(qualified[1])
    return None if _key(name) in _homonym_keys() else _named(name)


def _named(name: str) -> Instrument | None:
    """The instrument, family or category of a name, even if the name has other meanings."""
    head, comma, tail = name.partition(",")
    for spelling in [name, f"{tail} {head}"] if comma else [name]:
        for key in (_key(spelling), _key(spelling).replace(" ", "")):
            if key in _index():
                return _index()[key]
    return None


def heading(name: str) -> Instrument | None:
    """The family or category that has exactly this name, but for case, accents and punctuation."""
    return None if _key(name) in _homonym_keys() else _headings_by_key().get(_key(name))


@dataclass(frozen=True)
class Match:
    """The term of a project that stands for an instrument.

    Attributes:
        term: the term's id.
        exact: False where the term is wider than the instrument (Stringed instruments for a violin).
    """

    term: int
    exact: bool


def match_terms(instruments: Iterable[Instrument], terms: Mapping[int, str]) -> dict[int, Match]:
    """For each instrument the term of a project that fits it best: its own, else its family's, else its category's.

    Args:
        instruments: what is looked for.
        terms: names of the project's terms by their id.

    Returns:
        Matches by MIMO id; an instrument without any fitting term is absent. Of two terms that mean the same
        instrument the one with the smaller id, the older one, is taken.
    """
    term_of: dict[int, int] = {}
    # "Fiddles" is both the plural of an instrument and the heading of its family: it stands for the instrument only
    # where no other term does, for a parent is often older than its children.
    named = {term: (matching(terms[term]), heading(terms[term])) for term in sorted(terms)}
    own = [(meant, term) for term, (meant, family) in named.items() if family in (None, meant)]
    plural = [(meant, term) for term, (meant, family) in named.items() if family not in (None, meant)]
    families = [(family, term) for term, (_, family) in named.items()]
    for meant, term in [*own, *plural, *families]:
        if meant is not None:
            term_of.setdefault(meant.mimo_id, term)
    matches = {}
    for instrument in instruments:
        for wanted in [instrument, *ancestors(instrument)]:
            if wanted.mimo_id in term_of:
                matches[instrument.mimo_id] = Match(term_of[wanted.mimo_id], exact=wanted is instrument)
                break
    return matches
