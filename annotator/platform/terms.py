"""Which term of the project's ontology stands for which instrument."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from annotator.errors import AnnotatorError, ExitCode
from annotator.platform.connection import Connection, RequestFailed, store_once
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
EXISTS = 409


def find_terms(
    connection: Connection, project: int, instruments: Sequence[Instrument], others: Sequence[str], create: bool
) -> dict[int | str, int]:
    """The project's terms for what a model can name.

    Args:
        connection: to the server.
        project: id.
        instruments: those that the vocabulary knows.
        others: names of what it does not know; a term of exactly this name fits, but for blanks around it.
        create: whether to add the terms that are missing, instruments written as MINERVA does: Violin (3573). What
            people deleted is not added again.

    Returns:
        Ids of terms by MIMO id or by name; what has no term is absent, its detections are stored without one.

    Raises:
        AnnotatorError: (NOT_FOUND) nothing has a term, and none may be created or all were deleted.
    """
    ontology = connection.get(f"project/{project}.json", what=f"project {project}")["ontology"]
    names = term_names(connection, project)
    found = _fitting(names, instruments, others)
    some = ", ".join(f'"{name}"' for name in [*(instrument.name for instrument in instruments), *others][:3])
    missing = [instrument for instrument in instruments if instrument.mimo_id not in found]
    unnamed = [name for name in others if name not in found]
    if create and (missing or unnamed):
        for instrument in missing:
            colour = COLOURS.get(instrument.category, OTHER_COLOUR)
            _create(connection, project, ontology, f"{instrument.name} ({instrument.mimo_id})", colour)
        for name in unnamed:
            _create(connection, project, ontology, name, OTHER_COLOUR)
        found = _fitting(term_names(connection, project), instruments, others)
        if not found:
            raise AnnotatorError(
                "The terms of all instruments that the model knows were deleted from the ontology, and Cytomine takes "
                f"none of these names again. Add terms such as {some} by hand.",
                ExitCode.NOT_FOUND,
            )
    elif not found:
        raise AnnotatorError(
            f"None of the ontology's {len(names)} terms is an instrument that the model knows. "
            f"Add terms such as {some}, or switch on create_terms.",
            ExitCode.NOT_FOUND,
        )
    elif missing or unnamed:
        lacking = [*(instrument.name for instrument in missing), *unnamed]
        log.info("Without a term in the ontology: %s.", ", ".join(lacking))
    return found


def _fitting(
    names: Mapping[int, str], instruments: Sequence[Instrument], others: Sequence[str]
) -> dict[int | str, int]:
    """What `find_terms` gives of the terms that there are, by id."""
    matches = match_terms(instruments, names)
    for number, match in matches.items():
        if not match.exact:
            log.info("%s is labelled with the wider term %s.", by_mimo_id()[number].name, names[match.term])
    term_of = {name.strip(): term for term, name in sorted(names.items(), reverse=True)}  # of two the older one
    return {number: match.term for number, match in matches.items()} | {
        name: term_of[name] for name in others if name in term_of
    }


def term_names(connection: Connection, project: int) -> dict[int, str]:
    """The names of a project's terms by their id.

    Raises:
        AnnotatorError: (NOT_FOUND) the project has no ontology.
    """
    try:
        terms = connection.items(f"project/{project}/term.json", what=f"terms of project {project}")
    except RequestFailed as error:
        if error.status != 404:  # which is how the core says it
            raise
        message = f"Project {project} has no ontology. Choose one in the project's configuration, then launch again."
        raise AnnotatorError(message, ExitCode.NOT_FOUND) from error
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


def _create(connection: Connection, project: int, ontology: int, name: str, colour: str) -> None:
    """Add a term, but none that people deleted: the core keeps it, does not list it, and refuses its name."""
    body = {"name": name, "ontology": ontology, "color": colour}
    try:
        store_once(
            lambda: connection.post("term.json", body, what=f"the new term {name}"),
            # Another job may just have created it.
            lambda: name if name in term_names(connection, project).values() else None,
        )
    except RequestFailed as error:
        if error.status != EXISTS:
            raise
        log.info("The term %s was deleted from the ontology: not created again.", name)
    else:
        log.info("Created the term %s.", name)
