"""The quickstart's training with bad luck: the first attempt ends with exit 1 a third of the way,
the second is killed (SIGKILL, by itself) two thirds of the way, the third has none."""

import argparse
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import train


def read_luck():
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("--attempt", type=int, required=True)
    return parser.parse_known_args()


def main():
    luck, arguments = read_luck()
    epochs = train.read_options(arguments).epochs

    def after_epoch(done):
        if luck.attempt == 1 and done == epochs // 3:
            print("attempt 1 ends here, with exit 1", file=sys.stderr, flush=True)
            os._exit(1)
        if luck.attempt == 2 and done == 2 * epochs // 3:
            print("attempt 2 ends here, killed", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    return train.main(arguments, after_epoch)


if __name__ == "__main__":
    sys.exit(main())
