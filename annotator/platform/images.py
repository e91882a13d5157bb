"""Which images, and their pixels."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from annotator.errors import AnnotatorError, ExitCode
from annotator.pictures import FORMATS, UNREADABLE, to_rgb, upright
from annotator.platform.connection import Connection, Json, RequestFailed, ServerGone
from annotator.text import printable

LARGEST_FILE = 256 << 20  # bytes of a picture that are downloaded at the most
FILTER_REACH = 3  # pixels around a part that change it when it is resized
FETCHERS = 2  # requests for pixels at the same time
# We ask for pictures of a bounded size. A server that ignores that may still send a large one, but not any size.
Image.MAX_IMAGE_PIXELS = 200_000_000


@dataclass(frozen=True)
class ProjectImage:
    """An image of a project.

    Attributes:
        id: of the image instance.
        name: as people see it; only ever text, never a path.
        width: of the full resolution, in pixels.
        height: the same.
        preview: address of a small version, for servers without the thumb path.
        looked_through: whether a person has ended the review of it: what is not validated there is no instrument.
    """

    id: int
    name: str
    width: int
    height: int
    preview: str | None
    looked_through: bool = False


def choose_images(connection: Connection, project: int, wanted: tuple[int, ...]) -> list[ProjectImage]:
    """The images of a project, all or those named.

    Raises:
        AnnotatorError: the project has no images, or not one that was named.
    """
    listed = connection.items(f"project/{project}/imageinstance.json", what=f"images of project {project}")
    images = {item["id"]: _project_image(item) for item in listed}
    unknown = [number for number in wanted if number not in images]
    if unknown:
        raise AnnotatorError(
            f"Project {project} has no image {', '.join(map(str, unknown[:5]))}. Choose images of this project.",
            ExitCode.NOT_FOUND,
        )
    if not images:
        raise AnnotatorError(f"Project {project} has no images. Add some, then launch again.", ExitCode.NOT_FOUND)
    return [images[number] for number in wanted] if wanted else list(images.values())


def _project_image(item: Json) -> ProjectImage:
    # In a blind project names are replaced by numbers, or are missing.
    name = str(item.get("instanceFilename") or item.get("blindedName") or f"image {item['id']}")
    # A file name may hold anything, line breaks too; ours stands in logs and comments of one line.
    name = printable(name)
    width, height = (int(item.get(side) or 0) for side in ("width", "height"))
    return ProjectImage(item["id"], name, width, height, item.get("preview"), bool(item.get("reviewed")))


def fetch_pixels(connection: Connection, image: ProjectImage, largest: int) -> np.ndarray:
    """The whole image in one request, shrunk by the server.

    Args:
        connection: to the server.
        image: which.
        largest: pixels wanted on the longest side; smaller images come as they are.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        AnnotatorError: (BAD_IMAGE) the pixels cannot be had or do not fit the announced size.
        RequestFailed: (CONNECTION) the server is gone altogether.
    """
    if image.width < 1 or image.height < 1:
        raise AnnotatorError(f"{image.name}: the server gives no size for it. Upload it again.", ExitCode.BAD_IMAGE)
    problems = []
    for ask in _ways_to_ask(connection, image, min(largest, max(image.width, image.height))):
        try:
            return decode(ask(), image)
        except ServerGone:
            raise
        except RequestFailed as error:
            if error.status is None and not connection.answers():
                raise
            problems.append(f"{image.name}: {error}")
        except AnnotatorError as error:  # what came is no whole picture of this image; another path may know better
            problems.append(str(error))
    raise AnnotatorError(problems[0], ExitCode.BAD_IMAGE)


def fetch_rectangle(
    connection: Connection, image: ProjectImage, size: tuple[int, int], rectangle: tuple[int, int, int, int]
) -> np.ndarray:
    """A part of the image in one request, shrunk by the server.

    Args:
        connection: to the server.
        image: which.
        size: width and height that the whole image would have at this scale, no more than it has.
        rectangle: x0, y0, x1, y1 of the part, in pixels of that scale.

    Returns:
        (y1 - y0, x1 - x0, 3) uint8 RGB.

    Raises:
        AnnotatorError: (BAD_IMAGE) the pixels cannot be had, or are not those of the part; does not name the image.
        RequestFailed: (CONNECTION) the server is gone altogether.
    """
    scale = np.tile(np.divide((image.width, image.height), size), 2)
    exact = np.array(rectangle) * scale
    beside = np.ceil(FILTER_REACH * scale[:2])
    left, top = np.maximum(np.floor(exact[:2]) - beside, 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(exact[2:]) + beside, (image.width, image.height)).astype(int).tolist()
    window = ProjectImage(image.id, f"its part at {left}, {top}", right - left, bottom - top, None)
    most = math.ceil(max((right - left) / scale[0], (bottom - top) / scale[1]))
    path = f"imageinstance/{image.id}/window-{left}-{top}-{window.width}-{window.height}.jpg"
    try:
        content = connection.download(path, {"maxSize": most, "bits": 8}, what=window.name, limit=LARGEST_FILE)
    except ServerGone:
        raise
    except RequestFailed as error:
        if error.status is None and not connection.answers():
            raise
        raise AnnotatorError(str(error), ExitCode.BAD_IMAGE) from error
    picture = Image.fromarray(decode(content, window))
    received = np.tile(np.divide(picture.size, (window.width, window.height)), 2)
    box = np.clip((exact - [left, top, left, top]) * received, 0, np.tile(picture.size, 2))
    x0, y0, x1, y1 = rectangle
    return np.asarray(picture.resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS, box=tuple(box)))


def fetch_or_why_not(connection: Connection, image: ProjectImage, largest: int) -> np.ndarray | AnnotatorError:
    """The pixels of `fetch_pixels`, or why this image has none, so that a job goes on with the others.

    Raises:
        RequestFailed: (CONNECTION) the server is gone altogether.
    """
    try:
        return fetch_pixels(connection, image, largest)
    except AnnotatorError as error:
        if error.code is not ExitCode.BAD_IMAGE:
            raise
        return error


def _ways_to_ask(connection: Connection, image: ProjectImage, largest: int) -> list[Callable[[], bytes]]:
    """Paths to the same picture, best first: cores before 3.1 have no thumb of an image instance."""
    base, what = f"imageinstance/{image.id}", f"the pixels of {image.name}"
    query = {"maxSize": largest, "bits": 8}

    def at(path: str, query: dict[str, int] | None) -> Callable[[], bytes]:
        return lambda: connection.download(path, query, what=what, limit=LARGEST_FILE)

    ways = [at(f"{base}/thumb.jpg", query), at(f"{base}/window-0-0-{image.width}-{image.height}.jpg", query)]
    # Only an address on the very host that we talk to: requests elsewhere would carry a signature.
    if image.preview and image.preview.startswith(f"{connection.host}/"):
        ways.append(at(image.preview, None))
    return ways


def decode(content: bytes, image: ProjectImage) -> np.ndarray:
    """The picture in a file's bytes, if it is whole and has the image's shape.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        AnnotatorError: (BAD_IMAGE) no picture, half a picture, or a picture of another shape.
    """
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        turned = upright(picture)
    except UnidentifiedImageError:
        raise AnnotatorError(
            f"{image.name}: its pixels cannot be decoded: {len(content)} bytes that are no picture. "
            "Upload the image again.",
            ExitCode.BAD_IMAGE,
        ) from None
    except UNREADABLE as error:
        raise AnnotatorError(
            f"{image.name}: its pixels cannot be decoded ({error}). Upload the image again.", ExitCode.BAD_IMAGE
        ) from error
    # A file may say that it lies on its side. Whether the server has already turned it shows in the size it announces.
    fitting = [candidate for candidate in (turned, picture) if _has_shape(candidate, image)]
    if not fitting:
        raise AnnotatorError(
            f"{image.name}: the server sent {picture.width} x {picture.height} pixels for an image of "
            f"{image.width} x {image.height}: the shapes differ. Upload the image again.",
            ExitCode.BAD_IMAGE,
        )
    return np.asarray(to_rgb(fitting[0]))


def _has_shape(picture: Image.Image, image: ProjectImage) -> bool:
    """Whether the sides stand in the image's proportion, as exactly as whole pixels allow."""
    share = max(picture.size) / max(image.width, image.height)
    return abs(picture.width - image.width * share) <= 1.5 and abs(picture.height - image.height * share) <= 1.5
