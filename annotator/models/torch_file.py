"""Read a PyTorch state dictionary without PyTorch and without running what is pickled in it.

The file (the format of torch.save before version 1.6) is four pickles that describe tensors, a fifth that lists the
storages, then the storages' bytes. `pickletools.genops` lists a pickle's instructions and executes none of them; the
names and storage keys that we need stand in them as plain strings. This works for state dictionaries in which each
tensor is a storage of its own, and it is used only on a file whose SHA-256 is known.
"""

from __future__ import annotations

import hashlib
import pickletools
from pathlib import Path

import numpy as np


def read_state_dictionary(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """The tensors of a state dictionary by name, each as a flat array in the order of its bytes in the file.

    Shapes are not read: strides would have to be interpreted with them. The caller knows the network and reshapes.

    Args:
        path: the .pth file.
        sha256: what the file's SHA-256 must be, in hexadecimal.

    Raises:
        ValueError: the file is another one, or its storages do not add up.
    """
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"{path.name} has SHA-256 {found}, expected {sha256}")

    with path.open("rb") as file:
        for _ in range(3):  # magic number, protocol version, machine
            list(pickletools.genops(file))
        name, name_of_storage = "", {}
        for instruction, argument, _ in pickletools.genops(file):
            if instruction.name != "BINUNICODE":
                continue
            text = str(argument)
            if text.isdigit():
                name_of_storage[text] = name
            elif "." in text:
                name = text
        storages = [str(text) for instruction, text, _ in pickletools.genops(file) if instruction.name == "BINUNICODE"]
        offset = file.tell()

    tensors = {}
    for storage in storages:
        if storage not in name_of_storage:
            raise ValueError(f"{path.name} is no state dictionary: it has no tensor for storage {storage[:20]!r}")
        name = name_of_storage[storage]
        dtype = np.dtype("<i8" if name.endswith("num_batches_tracked") else "<f4")
        (length,) = np.frombuffer(content, "<i8", 1, offset)
        tensors[name] = np.frombuffer(content, dtype, int(length), offset + 8)
        offset += 8 + tensors[name].nbytes
    if offset != len(content):
        raise ValueError(f"{path.name} holds {len(content)} bytes, its storages end at {offset}")
    return tensors
