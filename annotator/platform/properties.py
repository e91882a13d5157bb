"""Keys and values that the server keeps beside any object: where a job leaves what other jobs read."""

from __future__ import annotations

from annotator.errors import AnnotatorError, ExitCode
from annotator.platform.connection import Connection, store_once

IMAGE = "be.cytomine.image.ImageInstance"


def read(connection: Connection, class_name: str, number: int, what: str) -> dict[str, str]:
    """The properties of an object; of one that two jobs wrote at the same moment, the first.

    Args:
        connection: to the server.
        class_name: of the object.
        number: its id.
        what: the object, for people.
    """
    return {key: value for key, (_, value) in numbered(connection, class_name, number, what).items()}


def numbered(connection: Connection, class_name: str, number: int, what: str) -> dict[str, tuple[int, str]]:
    """What `read` gives, each value after its id: of two properties the one with the larger id was written later."""
    rows = connection.items(f"domain/{class_name}/{number}/property.json", what=f"the properties of {what}")
    return {str(row["key"]): (row["id"], str(row["value"])) for row in sorted(rows, key=lambda row: -row["id"])}


def whole_number(text: str, key: str, value: str, what: str) -> int:
    """The number that a job wrote into a property.

    Args:
        text: the part of key or value that is one.
        key: of the property.
        value: of the property.
        what: the object, for people.

    Raises:
        AnnotatorError: (USAGE) it is none: somebody wrote the property by hand.
    """
    try:
        return int(text)
    except ValueError:
        raise AnnotatorError(
            f"The property {key!r} = {value!r} of {what} holds {text!r} where jobs write a whole number: somebody "
            "wrote it by hand. Delete it on the server, then launch again.",
            ExitCode.USAGE,
        ) from None


def record(connection: Connection, class_name: str, number: int, key: str, value: str, what: str) -> None:
    """Write a property that is written once and never changed.

    The core refuses a key only with the value that it has already: where another job was faster, both values stand
    there and the first counts. Whoever needs to know which that is reads it afterwards.

    Raises:
        RequestFailed: it could not be written, as often as it was tried.
    """
    body = {"domainClassName": class_name, "domainIdent": number, "key": key, "value": value}
    store_once(
        lambda: connection.post(
            f"domain/{class_name}/{number}/property.json", body, what=f"the property {key} of {what}"
        ),
        lambda: read(connection, class_name, number, what).get(key),
    )
