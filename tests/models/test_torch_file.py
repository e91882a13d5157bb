import hashlib
import pickle
from pathlib import Path

import pytest

from annotator.models import efficientnet_lite0
from annotator.models.torch_file import read_state_dictionary


def test_a_file_with_another_checksum_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"weights\.pth has SHA-256 .*, expected 5793"):
        read_state_dictionary(path, efficientnet_lite0.WEIGHTS_SHA256)


class Trap:
    """Whoever unpickles this makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_pickled_code_is_not_run(tmp_path):
    marker, path = tmp_path / "it-ran", tmp_path / "trap.pth"
    path.write_bytes(b"".join(pickle.dumps(Trap(marker), protocol=2) for _ in range(5)))
    with pytest.raises(ValueError, match="no state dictionary"):
        read_state_dictionary(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 (the trap is ours: it shows that the check above can fail)
    assert marker.exists()


def test_real_weights_fill_the_whole_network():
    tensors = efficientnet_lite0._imagenet_tensors()
    learned = {name: array for name, array in tensors.items() if not name.endswith("num_batches_tracked")}
    assert sum(array.size for array in learned.values() if array.dtype == "<f4") == 4_694_024
    kernel, bias = efficientnet_lite0.imagenet_head()
    assert kernel.shape == (1280, 1000)
    assert bias.shape == (1000,)
