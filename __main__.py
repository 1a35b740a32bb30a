"""``python -m lopsided``, which is how torchrun starts the command line."""

from lopsided.experiments.cli import main

main()
