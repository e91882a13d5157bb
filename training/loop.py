"""Train epoch by epoch so that a killed training goes on where it was, and the best epoch, or the start, remains."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

from annotator.errors import AnnotatorError, ExitCode
from training import devices, runs

STATE, LOG = "state.safetensors", "log.csv"


def train(
    model: keras.Model,
    batches_of: Callable[[int], Any],
    development: Any,
    folder: Path,
    *,
    epochs: int,
    patience: int,
    seed: int,
    criterion: Callable[[int, Mapping[str, float]], float] = lambda _, losses: losses["val_loss"],
) -> None:
    """Fit a compiled model until the criterion has not fallen for ``patience`` epochs; keep the best weights.

    Those that the model came with are among them: a training that only makes it worse leaves it as it was.

    After each epoch everything that the next one depends on is written to one file in ``folder``, and ``log.csv`` gets
    a line. If that file is there, training goes on from it and ends with the weights it would have had without a stop.

    Args:
        model: compiled; its weights are changed.
        batches_of: the training data of an epoch, from its number; the same for the same number.
        development: batches that are never learnt from.
        folder: of the run.
        epochs: at the most.
        patience: epochs.
        seed: of everything random in an epoch, with its number.
        criterion: what the best epoch has least of, from how many epochs were trained and the losses and metrics of the
            last, of which before the first there are only those of development; by default the development loss.

    Raises:
        AnnotatorError: (BAD_MODEL) the state in the folder is of another network, or the loss is not a number.
    """
    model.optimizer.build(model.trainable_variables)
    epoch, best, waited, best_weights = 0, np.inf, 0, [np.asarray(weight) for weight in model.weights]
    if (folder / STATE).is_file():
        epoch, best, waited, best_weights = _restore(model, folder / STATE)
    else:
        devices.prepare(seed)
        found = model.evaluate(development, verbose=0, return_dict=True)
        best = min(best, criterion(0, {f"val_{name}": float(value) for name, value in found.items()}))
    if (folder / LOG).is_file():  # a stop between both files leaves a line of an epoch that comes again
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines(keepends=True)
        runs.write_whole(folder / LOG, "".join(lines[: 1 + epoch]).encode())
    while epoch < epochs and waited < patience:
        devices.prepare(seed + epoch)
        history = model.fit(
            batches_of(epoch),
            validation_data=development,
            initial_epoch=epoch,
            epochs=epoch + 1,
            verbose=2,
            shuffle=False,
        ).history
        losses = {name: float(values[0]) for name, values in history.items()}
        if not np.isfinite(losses["loss"]):
            raise AnnotatorError(
                f"The loss is {losses['loss']} after {epoch + 1} epochs. Start anew in another folder with another "
                "seed or a smaller style weight; a job without adversarial.",
                ExitCode.BAD_MODEL,
            )
        epoch += 1
        waited += 1
        value = criterion(epoch, losses)
        if value < best:
            best, waited, best_weights = value, 0, [np.asarray(weight) for weight in model.weights]
        _log(folder / LOG, {"epoch": epoch, **losses})
        _save(model, folder / STATE, {"epoch": epoch, "best": best, "waited": waited}, best_weights)
    model.set_weights(best_weights)


def _variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    for number, weight in enumerate(model.weights):
        yield f"weight/{number}", weight
    for number, variable in enumerate(model.optimizer.variables):
        yield f"optimizer/{number}", variable


def _save(model: keras.Model, path: Path, progress: dict[str, float], best_weights: list[np.ndarray]) -> None:
    values = {name: np.array(variable) for name, variable in _variables(model)}
    values |= {f"best/{number}": weight for number, weight in enumerate(best_weights)}
    runs.write_whole(path, safetensors.numpy.save(values, metadata={"progress": json.dumps(progress)}))


def _restore(model: keras.Model, path: Path) -> tuple[int, float, int, list[np.ndarray]]:
    try:
        with safetensors.safe_open(path, "numpy") as file:
            progress = json.loads(file.metadata()["progress"])
            for name, variable in _variables(model):
                value = file.get_tensor(name)
                if value.shape != tuple(variable.shape):
                    raise ValueError(f"{name} has shape {value.shape}, wanted {tuple(variable.shape)}")
                variable.assign(value)
            best_weights = [file.get_tensor(f"best/{number}") for number in range(len(model.weights))]
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise AnnotatorError(
            f"The training in {str(path.parent)!r} cannot go on: {error}. Delete the folder or name another.",
            ExitCode.BAD_MODEL,
        ) from error
    return progress["epoch"], progress["best"], progress["waited"], best_weights


def _log(path: Path, row: dict[str, float]) -> None:
    header = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        if header:
            writer.writeheader()
        writer.writerow(row)
