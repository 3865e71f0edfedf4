"""Learns to read handwritten digits with a small neural network, in plain Python.

Prints one line for each epoch, writes a checkpoint after each, and goes on from any of them with
`--resume PATH` exactly as if it had never stopped. SIGTERM writes a checkpoint in the middle of an
epoch and ends.
"""

import argparse
import gzip
import json
import math
import os
import random
import signal
import sys
import time
from operator import mul

CLASSES = 10
PIXEL_MAX = 16.0
VALIDATION_PART = 5  # one digit in five is kept for validation


class Stopped(Exception):
    """SIGTERM came; the checkpoint is written."""


def read_digits(path):
    """Returns (training, validation), lists of (pixels in 0..1, label)."""
    digits = []
    with gzip.open(path, "rt", encoding="ascii") as lines:
        for line in lines:
            values = [float(value) for value in line.split(",")]
            digits.append(([value / PIXEL_MAX for value in values[:-1]], int(values[-1])))
    validation = digits[::VALIDATION_PART]
    training = [digit for index, digit in enumerate(digits) if index % VALIDATION_PART]
    return training, validation


def new_layer(generator, inputs, outputs):
    """Rows of weights, one for each output; the last weight of a row is its bias."""
    spread = math.sqrt(2.0 / inputs)
    return [[generator.gauss(0.0, spread) for _ in range(inputs)] + [0.0] for _ in range(outputs)]


def new_state(options):
    """All that training needs to go on: this is what a checkpoint holds."""
    generator = random.Random(f"{options.seed}/weights")
    return {
        "epoch": 0,  # epochs done
        "samples": 0,  # digits done of the epoch after them
        "loss_sum": 0.0,  # over these digits
        "seed": options.seed,
        "hidden": new_layer(generator, 64, options.hidden),
        "output": new_layer(generator, options.hidden, CLASSES),
    }


def forward(state, pixels):
    """Returns (hidden activations with the bias input, probability of each class)."""
    inputs = pixels + [1.0]
    hidden = [max(0.0, sum(map(mul, row, inputs))) for row in state["hidden"]] + [1.0]
    scores = [sum(map(mul, row, hidden)) for row in state["output"]]
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    total = sum(powers)
    return hidden, [power / total for power in powers]


def learn(state, pixels, label, rate):
    """One step of gradient descent on one digit; returns its loss (cross-entropy)."""
    hidden, chances = forward(state, pixels)
    loss = -math.log(max(chances[label], 1e-12))
    chances[label] -= 1.0  # now the gradient of the loss by the scores
    back = [0.0] * (len(hidden) - 1)
    for row, slope in zip(state["output"], chances):
        for index in range(len(back)):
            back[index] += slope * row[index]
        row[:] = [weight - rate * slope * value for weight, value in zip(row, hidden)]
    inputs = pixels + [1.0]
    for index, row in enumerate(state["hidden"]):
        if hidden[index] > 0.0:
            slope = rate * back[index]
            row[:] = [weight - slope * value for weight, value in zip(row, inputs)]
    return loss


def accuracy(state, digits):
    right = 0
    for pixels, label in digits:
        chances = forward(state, pixels)[1]
        right += chances.index(max(chances)) == label
    return right / len(digits)


def write_checkpoint(state, folder):
    """Writes epoch-NNNN.json, complete or not at all: readers never see half of it."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"epoch-{state['epoch']:04d}.json")
    temporary = path + ".part"
    with open(temporary, "w", encoding="ascii") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return path


def read_checkpoint(path):
    with open(path, encoding="ascii") as file:
        return json.load(file)


def train_epoch(state, training, options, is_stopping):
    """Finishes the epoch that the state is in. The order of the digits follows from the seed and
    the epoch alone, so that a resumed epoch goes on with the digit it would have seen next."""
    order = list(range(len(training)))
    random.Random(f"{state['seed']}/{state['epoch']}").shuffle(order)
    rate = options.lr / (1.0 + 0.1 * state["epoch"])
    while state["samples"] < len(order):
        pixels, label = training[order[state["samples"]]]
        state["loss_sum"] += learn(state, pixels, label, rate)
        state["samples"] += 1
        if is_stopping():
            path = write_checkpoint(state, options.checkpoints)
            print(f"stopped by SIGTERM, checkpoint {path}", flush=True)
            raise Stopped
    loss = state["loss_sum"] / len(order)
    state.update(epoch=state["epoch"] + 1, samples=0, loss_sum=0.0)
    return loss


def read_options(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=25, help="passes over the data")
    parser.add_argument("--hidden", type=int, default=48, help="neurons in the hidden layer")
    parser.add_argument("--lr", type=float, default=0.05, help="rate of learning at the start")
    parser.add_argument("--seed", type=int, default=1, help="what the randomness comes from")
    parser.add_argument("--data", default="data/digits.csv.gz", help="the digits")
    parser.add_argument("--checkpoints", default="checkpoints", help="folder of the checkpoints")
    parser.add_argument("--resume", metavar="PATH", help="a checkpoint to go on from")
    return parser.parse_args(arguments)


def main(arguments=None, after_epoch=None):
    """`after_epoch(epochs_done)` is called once the epoch's checkpoint is written."""
    options = read_options(arguments)
    stopping = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    training, validation = read_digits(options.data)
    if options.resume:
        state = read_checkpoint(options.resume)
        print(f"resumed from {options.resume} after {state['epoch']} epochs", flush=True)
    else:
        state = new_state(options)
        print(f"{len(training)} digits to learn, {len(validation)} to be tried on", flush=True)
    began = time.monotonic()
    try:
        while state["epoch"] < options.epochs:
            loss = train_epoch(state, training, options, lambda: bool(stopping))
            score = accuracy(state, validation)
            write_checkpoint(state, options.checkpoints)
            print(f"epoch={state['epoch']} loss={loss:.4f} val_acc={score:.4f}", flush=True)
            if after_epoch:
                after_epoch(state["epoch"])
    except Stopped:
        return 128 + signal.SIGTERM
    print(f"trained in {time.monotonic() - began:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
