"""What `scripts/bench transfer` moves: trees of files, made once, and how a target gets into the
state from which each tool begins."""

import os
import random
import shutil
import subprocess

MIB = 1 << 20
SEED = 4
WORDS = ("loss accuracy epoch model tensor batch gradient layer import return self config train "
         "value index for while float optimizer learning rate weight data path file").split()


def incompressible(file, size):
    while size > 0:
        size -= file.write(os.urandom(min(size, 16 * MIB)))


def floats(file, size):
    """Like the weights of a checkpoint: one byte of four is of a few values, the rest is noise."""
    few = bytes(0x3C + (byte & 3) for byte in range(256))
    while size > 0:
        block = bytearray(os.urandom(min(size, 16 * MIB)))
        block[3::4] = block[3::4].translate(few)
        size -= file.write(block)


def text(chance, size):
    words = []
    while size > 0:
        words.append(chance.choice(WORDS) + (" " if chance.random() < 0.9 else "\n"))
        size -= len(words[-1])
    return "".join(words).encode()


def many_files(folder, count, bytes_each, chance):
    """Three of four are text, each in a folder of a hundred."""
    pool = text(chance, 4 * MIB)
    for number in range(count):
        path = folder / f"part-{number // 100:03}" / f"file-{number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = max(1, int(chance.expovariate(1 / bytes_each)))
        size = min(size, 20 * bytes_each)
        at = chance.randrange(len(pool) - min(size, len(pool) - 1))
        path.write_bytes(os.urandom(size) if number % 4 == 0 else pool[at:at + size])


def copy(source, target):
    subprocess.run(["cp", "-a", "--reflink=never", source, target], check=True)


class Data:
    """The trees below `folder`, at full size or, for a trial that everything works, small."""

    def __init__(self, folder, quick):
        self.folder = folder
        self.quick = quick
        self.bulk_size = 24 * MIB if quick else 2048 * MIB
        self.far_bulk_size = 8 * MIB if quick else 512 * MIB
        self.big_size = 12 * MIB if quick else 1024 * MIB
        self.count = 400 if quick else 20_000
        self.chance = random.Random(SEED)
        self.regions = []  # of the big file that differ "in place"

    def file(self, name, fill, size):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            fill(file, size)
        os.utime(path, (1.7e9, 1.7e9))
        return path

    def tree(self, name):
        """The folder of that name, made when it is first asked for."""
        folder = self.folder / name
        if not folder.exists():
            getattr(self, "make_" + name.replace("-", "_"))(folder)
        return folder

    def make_bulk(self, folder):
        self.file(f"{folder.name}/data.bin", incompressible, self.bulk_size)

    def make_far_bulk(self, folder):
        self.file(f"{folder.name}/data.bin", incompressible, self.far_bulk_size)

    def make_small(self, folder):
        many_files(folder, self.count, 7500, self.chance)

    def make_changed(self, folder):
        copy(self.tree("small"), folder)
        for path in self.changed_files():
            (folder / path).write_bytes(text(self.chance, self.chance.randrange(100, 15000)))

    def changed_files(self):
        return [f"part-{number // 100:03}/file-{number:05}.txt"
                for number in range(50, self.count, 100)]

    def make_big(self, folder):
        self.file(f"{folder.name}/checkpoint.bin", floats, self.big_size)

    def make_mixed(self, folder):
        many_files(folder, self.count // 10, 7500, self.chance)
        os.link(self.tree("big") / "checkpoint.bin", folder / "checkpoint.bin")

    def make_in_place(self, folder):
        copy(self.tree("big"), folder)
        with open(folder / "checkpoint.bin", "r+b") as file:
            for at, size in self.changed_regions():
                file.seek(at)
                floats(file, size)

    def changed_regions(self):
        """A fiftieth of the file, in 160 places."""
        size = self.big_size // 50 // 160
        return [(place * (self.big_size // 160) + 12345, size) for place in range(160)]

    def make_inserted(self, folder):
        folder.mkdir()
        source = self.tree("big") / "checkpoint.bin"
        with open(source, "rb") as old, open(folder / "checkpoint.bin", "wb") as new:
            for _ in range(10):
                new.write(os.urandom(1000))
                left = self.big_size // 10 + 1
                while left > 0 and (block := old.read(min(left, 16 * MIB))):
                    left -= new.write(block)


class Workload:
    """`tree` is what moves; a target begins as `before`, or absent."""

    def __init__(self, name, title, tree, before=None):
        self.name = name
        self.title = title
        self.tree = tree
        self.before = before

    def reset(self, data, target):
        if not self.before:
            shutil.rmtree(target, ignore_errors=True)
        elif not target.exists():
            copy(data.tree(self.before), target)
        elif self.name == "changed":
            for path in data.changed_files():
                shutil.copy2(data.tree("small") / path, target / path)
        elif self.name == "in-place":
            self.write_back(data, target / "checkpoint.bin")
        elif self.name == "inserted":
            shutil.rmtree(target)
            copy(data.tree(self.before), target)
        if not data.quick:
            os.sync()  # nothing of this is still being written while a tool is measured

    def write_back(self, data, path):
        source = data.tree("big") / "checkpoint.bin"
        with open(source, "rb") as old, open(path, "r+b") as file:
            for at, size in data.changed_regions():
                old.seek(at)
                file.seek(at)
                file.write(old.read(size))
        shutil.copystat(source, path)

    def check(self, data, target):
        """What differs between the target and what was to move."""
        done = subprocess.run(["diff", "-r", "-q", data.tree(self.tree), target],
                              capture_output=True, text=True)
        return (done.stdout + done.stderr).strip()[:300]


WORKLOADS = {each.name: each for each in (
    Workload("bulk", "2 GiB incompressible", "bulk"),
    Workload("far-bulk", "512 MiB incompressible", "far-bulk"),
    Workload("small", "20,000 small files, 150 MB", "small"),
    Workload("mixed", "1 GiB checkpoint and 2,000 files", "mixed"),
    Workload("changed", "the 20,000, 1 % changed", "changed", "small"),
    Workload("in-place", "1 GiB, 2 % changed in place", "in-place", "big"),
    Workload("inserted", "1 GiB, bytes inserted", "inserted", "big"),
    Workload("nothing", "the 20,000, nothing changed", "small", "small"),
)}
