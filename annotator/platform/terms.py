"""Which term of the project's ontology stands for which instrument."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from annotator.errors import AnnotatorError, ExitCode
from annotator.platform.connection import Connection, RequestFailed
from annotator.vocabulary import Instrument, by_mimo_id, match_terms

log = logging.getLogger(__name__)

# One colour a category of MIMO, told apart also by people who see few colours (Okabe & Ito 2008).
COLOURS = {
    "Stringed instruments": "#0072b2",
    "Wind instruments": "#d55e00",
    "Percussion instruments": "#009e73",
    "Keyboard instruments": "#cc79a7",
}
OTHER_COLOUR = "#e69f00"


def find_terms(connection: Connection, project: int, instruments: Sequence[Instrument], create: bool) -> dict[int, int]:
    """The project's terms for instruments, by MIMO id.

    Args:
        connection: to the server.
        project: id.
        instruments: what the model can name.
        create: whether to add the terms that are missing, written as MINERVA does: Violin (3573).

    Returns:
        Ids of terms; an instrument without a term is absent, its detections are stored without a term.

    Raises:
        AnnotatorError: no instrument has a term, and none may be created.
    """
    ontology = connection.get(f"project/{project}.json", what=f"project {project}")["ontology"]
    names = term_names(connection, project)
    matches = match_terms(instruments, names)
    missing = [instrument for instrument in instruments if instrument.mimo_id not in matches]
    if create and missing:
        for instrument in missing:
            _create(connection, project, ontology, instrument)
        matches = match_terms(instruments, term_names(connection, project))
        log.info("Created %d terms.", len(missing))
    elif missing and matches:
        log.info("Without a term in the ontology: %s.", ", ".join(instrument.name for instrument in missing))
    for number, match in matches.items():
        if not match.exact:
            log.info("%s is labelled with the wider term %s.", by_mimo_id()[number].name, names.get(match.term))
    if not matches:
        some = ", ".join(f'"{instrument.name}"' for instrument in instruments[:3])
        raise AnnotatorError(
            f"None of the ontology's {len(names)} terms is an instrument that the model knows. "
            f"Add terms such as {some}, or switch on create_terms.",
            ExitCode.NOT_FOUND,
        )
    return {number: match.term for number, match in matches.items()}


def terms_named(connection: Connection, project: int, names: Collection[str]) -> dict[str, int]:
    """The project's terms of exactly these names, but for blanks around them: for terms that no vocabulary knows."""
    found = {name.strip(): term for term, name in sorted(term_names(connection, project).items(), reverse=True)}
    return {name: found[name] for name in names if name in found}


def term_names(connection: Connection, project: int) -> dict[int, str]:
    """The names of a project's terms by their id."""
    terms = connection.items(f"project/{project}/term.json", what=f"terms of project {project}")
    return {term["id"]: str(term["name"]) for term in terms}


def check_term(terms: Mapping[int, str], wanted: Sequence[int]) -> None:
    """Fail where a term that was asked for is none of the project's.

    Raises:
        AnnotatorError: (NOT_FOUND) with its id.
    """
    unknown = [term for term in wanted if term not in terms]
    if unknown:
        raise AnnotatorError(
            f"The project's ontology has no term {', '.join(map(str, unknown[:5]))}. Choose terms of this project.",
            ExitCode.NOT_FOUND,
        )


def _create(connection: Connection, project: int, ontology: int, instrument: Instrument) -> None:
    name = f"{instrument.name} ({instrument.mimo_id})"
    colour = COLOURS.get(instrument.category, OTHER_COLOUR)
    try:
        body = {"name": name, "ontology": ontology, "color": colour}
        connection.post("term.json", body, what=f"the new term {name}")
    except RequestFailed:
        # Another job may just have created it, or the answer got lost.
        if name not in term_names(connection, project).values():
            raise
