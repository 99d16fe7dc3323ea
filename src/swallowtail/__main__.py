"""`python -m swallowtail`."""

from swallowtail.cli import main

main()
